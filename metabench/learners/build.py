"""From a learner's name and hyper-parameters to a learner."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from metabench.errors import MetabenchError, one_line
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner
from metabench.records import Parameter
from metabench.validation import first_problem

LearnerClass = type[MetaLearner[Any]]


def find_learner(reference: str) -> LearnerClass:
    """A registered name, ``module:Class`` or ``path/to/file.py:Class``.

    The last two import, and so run, code that the caller names.
    """
    if ":" not in reference:
        return LEARNERS.get(reference)
    module_name, _, class_name = reference.rpartition(":")
    try:
        module = (
            _import_file(Path(module_name))
            if module_name.endswith(".py")
            else (importlib.import_module(module_name))
        )
    except Exception as error:
        raise MetabenchError(f"learner {reference!r}: {one_line(error)}") from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise MetabenchError(f"learner {reference!r}: {module_name} has no class {class_name!r}")
    return require_contract(found)


def require_contract(found: type) -> LearnerClass:
    """The class, if it has a card, ``adapt`` and ``predict``."""
    missing = [name for name in ("card", "adapt", "predict") if not hasattr(found, name)]
    if missing:
        raise MetabenchError(f"learner {found.__name__!r} lacks {', '.join(missing)}")
    if not isinstance(getattr(found, "card", None), LearnerCard):
        raise MetabenchError(f"learner {found.__name__!r}: 'card' must be a LearnerCard")
    checked: LearnerClass = found
    return checked


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise MetabenchError(f"no file {path}")
    name = f"metabench_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MetabenchError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def parameter_model(learner: LearnerClass) -> type[BaseModel]:
    """The hyper-parameters as a pydantic model: types, defaults, bounds, descriptions."""
    if learner.__init__ is object.__init__ or learner.__init__ is MetaLearner.__init__:
        fields: dict[str, Any] = {}
    else:
        # A class resolves inherited fields by the names of the module that declares them.
        typed = learner if is_dataclass(learner) else learner.__init__
        hints = get_type_hints(typed, include_extras=True)
        fields = {
            name: (hints.get(name, Any), ... if p.default is p.empty else p.default)
            for name, p in inspect.signature(learner).parameters.items()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
    config = ConfigDict(extra="forbid", protected_namespaces=())
    return create_model(f"{learner.card.name} parameters", __config__=config, **fields)


def resolve_parameters(
    learner: LearnerClass, given: Mapping[str, Parameter]
) -> dict[str, Parameter]:
    """Every hyper-parameter with its value; unknown names and wrong values are errors."""
    model = parameter_model(learner)
    try:
        return model.model_validate(dict(given)).model_dump()
    except ValidationError as error:
        problem = first_problem(error, model).removeprefix("top level: ")
        raise MetabenchError(f"learner {learner.card.name}: {problem}") from None


def source_digest(learner: LearnerClass) -> str:
    """Hash of the source file of a learner that is not shipped here, so that edits are seen."""
    if learner.__module__.startswith("metabench."):
        return ""
    if isinstance(known := learner.__dict__.get("folder_digest"), str):
        return known  # of a submission's folder
    try:
        source = inspect.getsource(inspect.getmodule(learner) or learner)
    except (OSError, TypeError):
        try:
            source = inspect.getsource(learner)
        except (OSError, TypeError):
            return "unknown"
    return hashlib.sha256(source.encode()).hexdigest()[:16]
