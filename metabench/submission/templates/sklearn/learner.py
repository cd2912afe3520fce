"""An estimator of scikit-learn, fitted to each support set alone: it does no meta-learning."""

import sklearn.base
from sklearn.svm import SVC, SVR

from metabench import LearnerCard
from metabench.learners.adapters.estimator import EstimatorLearner


class Learner(EstimatorLearner):
    card = LearnerCard("my-learner", "other", ("classification", "regression"))

    # Edit here: any classifier or regressor, pipelines included.
    def make(self, kind: str) -> sklearn.base.BaseEstimator:
        return SVC() if kind == "classification" else SVR(C=10.0)
