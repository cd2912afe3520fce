"""Any classifier or regressor with the interface of scikit-learn, fitted to each support set."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes import Kind, Prediction, Query, Support, mask_absent_classes
from metabench.errors import MetabenchError
from metabench.learners.contract import MetaLearner, TaskInfo
from metabench.rng import Address


@dataclass(frozen=True)
class Estimators:
    """One fitted estimator a task, the one class of its support set, or None; way [T]."""

    fitted: list[Any]
    way: Tensor


class EstimatorLearner(MetaLearner[Estimators]):
    """Subclass it: ``card``, and ``make`` that returns an unfitted estimator.

    Inputs are flattened; the support set is all that an estimator sees. Scores are the estimator's
    decision function, else its probabilities, else its answers. A random state that it leaves open
    follows from the seed, the same for every task.
    """

    def make(self, kind: Kind) -> Any:
        """The estimator that is cloned for each task."""
        raise NotImplementedError

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Make the estimator; MetabenchError where it is missing or of the wrong kind."""
        self.info = info
        sklearn = import_sklearn()
        classes = info.kind == "classification"
        self.template = self.make(info.kind)
        fits = sklearn.base.is_classifier if classes else sklearn.base.is_regressor
        if not fits(self.template):
            raise MetabenchError(f"{type(self.template).__name__} does not do {info.kind}")
        state = Address.of("sklearn", seed).seed() % 2**32
        for key, value in self.template.get_params().items():
            if key.split("__")[-1] == "random_state" and value is None:
                self.template.set_params(**{key: state})
        if info.output_dim > 1:
            multi = importlib.import_module("sklearn.multioutput")
            self.template = multi.MultiOutputRegressor(self.template)

    def adapt(self, support: Support) -> Estimators:
        """Fit a clone to every task's items."""
        clone = import_sklearn().base.clone
        fitted: list[Any] = []
        for x, y, mask in zip(support.x, support.y, support.mask, strict=True):
            inputs, targets = _array(x[mask].flatten(1)), y[mask].cpu().numpy()
            if not len(targets):
                fitted.append(None)
                continue
            if support.kind == "regression" and targets.shape[1] == 1:
                targets = targets[:, 0]
            only = support.kind == "classification" and len(np.unique(targets)) == 1
            # Most classifiers refuse a single class.
            fitted.append(int(targets[0]) if only else clone(self.template).fit(inputs, targets))
        return Estimators(fitted, support.way)

    def predict(self, state: Estimators, query: Query) -> Prediction:
        """Scores in the order of the class ids; -inf for classes that the support set lacks.

        Without any support all scores and outputs are zero.
        """
        if self.info.kind == "regression":
            output = np.zeros((*query.x.shape[:2], self.info.output_dim))
            for row, model, x in zip(output, state.fitted, query.x, strict=True):
                if model is not None:
                    row[:] = model.predict(_array(x.flatten(1))).reshape(row.shape)
            return Prediction(_tensor(output, query.x))
        way = int(state.way.max())
        scores = np.full((*query.x.shape[:2], way), -np.inf)
        for row, model, x in zip(scores, state.fitted, query.x, strict=True):
            if model is None:
                row[:] = 0.0
            elif isinstance(model, int):
                row[:, model] = 0.0
            else:
                row[:, model.classes_] = class_scores(model, _array(x.flatten(1)))
        return Prediction(mask_absent_classes(_tensor(scores, query.x), state.way))


def class_scores(model: Any, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, len(classes_)], higher is likelier."""
    classes = len(model.classes_)
    # One-vs-one margins are of pairs, and at three classes there are as many pairs as classes.
    if getattr(model, "decision_function_shape", "ovr") != "ovo":
        for method in ("decision_function", "predict_proba"):
            if not hasattr(model, method):
                continue
            scores = np.asarray(getattr(model, method)(x), dtype=np.float64)
            if scores.ndim == 1 and classes == 2:
                return np.stack([-scores, scores], axis=1)
            if scores.shape == (len(x), classes):
                return scores
    answers: NDArray[np.float64] = (model.predict(x)[:, None] == model.classes_).astype(np.float64)
    return answers


def import_sklearn() -> Any:
    """The package; raises MetabenchError naming the extra where it is not installed."""
    try:
        import sklearn.base
    except ImportError:
        raise MetabenchError(
            "learner sklearn needs scikit-learn: pip install 'metabench[sklearn]'"
        ) from None
    return sklearn


def _array(x: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = x.detach().cpu().double().numpy()
    return array


def _tensor(array: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like)
