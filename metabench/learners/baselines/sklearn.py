"""Any estimator of scikit-learn, by its name."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from metabench.episodes import Kind
from metabench.errors import MetabenchError
from metabench.learners.adapters.estimator import EstimatorLearner, import_sklearn
from metabench.learners.contract import LEARNERS, LearnerCard

CLASSIFIER, REGRESSOR = "sklearn.svm.SVC", "sklearn.svm.SVR"


@LEARNERS.register("sklearn")
@dataclass(eq=False)
class Sklearn(EstimatorLearner):
    """Fitted to each support set alone."""

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

    def make(self, kind: Kind) -> Any:
        """As named; MetabenchError where it is no estimator or does not take the options."""
        name = self.estimator or (CLASSIFIER if kind == "classification" else REGRESSOR)
        return make_estimator(name, parse_options(self.options))


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
