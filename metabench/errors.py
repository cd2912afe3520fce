"""Errors that are the user's to fix, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MetabenchError(Exception):
    """A mistake the user can fix; the command line prints it as one line and exits with 2."""


class ContractError(MetabenchError):
    """A learner broke the contract of a meta-learner: wrong shape, kind or value."""


class DivergedError(MetabenchError):
    """A learner produced NaN or an infinite loss."""


class BudgetExhausted(MetabenchError):
    """A learner asked for more tasks than its budget holds."""


class TimeLimitError(MetabenchError):
    """A cell used up its wall-clock limit."""


def one_line(error: BaseException) -> str:
    """The error's message on one line, preceded by its type unless it is one of ours."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, MetabenchError) else f"{type(error).__name__}: {text}"


def unknown(what: str, found: object, allowed: Iterable[str]) -> str:
    """One line that names what was found, the nearest valid name and every allowed one."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(found), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {str(found)!r}.{hint} Allowed: {', '.join(names) or 'none'}."
