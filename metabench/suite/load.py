"""Where suites are found, and how a file becomes one."""

from __future__ import annotations

from pathlib import Path

from metabench.errors import MetabenchError, unknown
from metabench.suite.spec import Suite
from metabench.validation import load_toml


def suites_folder() -> Path:
    """Where the shipped suites lie: in an installed package, or in a checkout beside it."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_suites"
    return installed if installed.is_dir() else package.parent / "suites"


def suite_names() -> list[str]:
    """Every shipped suite."""
    return sorted(p.parent.name for p in suites_folder().glob("*/suite.toml"))


def load_suite(name_or_path: str | Path) -> Suite:
    """A shipped suite by name, or one's own by the path of its folder or TOML file."""
    given = Path(name_or_path)
    if str(name_or_path) in suite_names():
        path = suites_folder() / str(name_or_path) / "suite.toml"
    elif given.is_dir():
        path = given / "suite.toml"
    elif given.suffix == ".toml":
        path = given
    else:
        raise MetabenchError(unknown("suite", name_or_path, suite_names()))
    return load_toml(path, Suite)
