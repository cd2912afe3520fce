"""Any estimator of scikit-learn, fitted to each support set alone."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from metabench.episodes import Prediction, Query, Support, mask_absent_classes
from metabench.errors import MetabenchError
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner, TaskInfo
from metabench.rng import Address

CLASSIFIER, REGRESSOR = "sklearn.svm.SVC", "sklearn.svm.SVR"


@dataclass(frozen=True)
class Estimators:
    """One fitted estimator a task, the one class of its support set, or None; way [T]."""

    fitted: list[Any]
    way: Tensor


@LEARNERS.register("sklearn")
@dataclass(eq=False)
class Sklearn(MetaLearner[Estimators]):
    """Inputs are flattened; the support set is all that an estimator sees.

    Scores are the estimator's decision function, else its probabilities, else its answers. A
    random state that ``options`` leave open follows from the seed, the same for every task.
    """

    card = LearnerCard(
        name="sklearn",
        family="baseline",
        kinds=("classification", "regression"),
        citation="Pedregosa et al. 2011. Scikit-learn: Machine Learning in Python. JMLR.",
    )

    estimator: Annotated[
        str | None,
        Field(
            pattern=r"^sklearn(\.\w+)+$",
            description="its full name; None: sklearn.svm.SVC, sklearn.svm.SVR in regression",
        ),
    ] = None
    options: Annotated[
        str, Field(pattern=r"^\s*\{.*\}\s*$", description="its keyword arguments, as JSON")
    ] = "{}"

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Make the estimator that is cloned for each task.

        Raises MetabenchError where scikit-learn is missing, or the estimator is not one, is of
        the wrong kind or does not take the options.
        """
        self.info = info
        classes = info.kind == "classification"
        name = self.estimator or (CLASSIFIER if classes else REGRESSOR)
        self.template = make_estimator(name, parse_options(self.options))
        sklearn = import_sklearn()
        fits = sklearn.base.is_classifier if classes else sklearn.base.is_regressor
        if not fits(self.template):
            raise MetabenchError(f"{name} does not do {info.kind}")
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


def make_estimator(name: str, options: dict[str, Any]) -> Any:
    """An unfitted estimator; only classes that lie in scikit-learn itself are ever imported."""
    sklearn = import_sklearn()
    module, _, attribute = name.rpartition(".")
    if module.split(".")[0] != "sklearn":
        raise MetabenchError(f"sklearn.estimator: {name!r} is not in scikit-learn")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise MetabenchError(f"sklearn.estimator: scikit-learn has no {name!r}") from None
    inside = isinstance(found, type) and found.__module__.startswith("sklearn.")
    if not (inside and issubclass(found, sklearn.base.BaseEstimator)):
        raise MetabenchError(f"sklearn.estimator: {name!r} is not an estimator")
    try:
        return found(**options)
    except TypeError as error:
        raise MetabenchError(f"sklearn.options: {error}") from None


def parse_options(text: str) -> dict[str, Any]:
    """A JSON object; raises MetabenchError where it is anything else."""
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise MetabenchError(f"sklearn.options: not valid JSON: {error}") from None
    if not isinstance(options, dict):
        raise MetabenchError(f"sklearn.options: expected a JSON object, found {text}")
    return options


def _array(x: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = x.detach().cpu().double().numpy()
    return array


def _tensor(array: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like)
