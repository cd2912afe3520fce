"""A control: the exact Bayes predictor of the meta-training prior, which never looks outside it."""

from __future__ import annotations

from metabench.episodes import Episodes, Prediction, Query, Support
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner
from metabench.tasks.harmonics import Harmonics


@LEARNERS.register("narrow-bayes")
class NarrowBayes(MetaLearner[Support]):
    """Optimal on the harmonics that ``ood-functions`` trains on, and on nothing else.

    A suite that measures out-of-distribution collapse must give it skill 1 in distribution and
    flag it outside.
    """

    card = LearnerCard(
        name="narrow-bayes",
        family="control",
        kinds=("regression",),
        citation="Rasmussen, Williams 2006. Gaussian Processes for Machine Learning, eq. 2.12.",
    )

    def adapt(self, support: Support) -> Support:
        """Remember the support set."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """The posterior mean under the prior of meta-training, in closed form."""
        nothing = state.y.new_zeros(*query.x.shape[:2], state.y.shape[-1])
        return Prediction(Harmonics().bayes(Episodes(state, query, nothing)).to(state.x.device))
