"""Other libraries, imported for one test without what they import and never use here."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from benchmarks.peers import libraries


def library(name: str) -> Any:
    """The module, or the test is skipped; stand-ins are gone again, as others look for them."""
    finders = list(sys.meta_path)
    found = libraries.peer(name)
    sys.meta_path[:] = finders
    libraries._stand_in.cache_clear()
    for key, module in list(sys.modules.items()):
        if isinstance(module, libraries._StandIn):
            del sys.modules[key]
    return found if found is not None else pytest.skip(f"{name} is not installed")
