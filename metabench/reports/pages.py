"""How pages are made: everything is escaped, and one script may run."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from metabench.reports.typesetting import across, outside, sort_key, typeset

if TYPE_CHECKING:
    from jinja2 import Environment


def pages() -> Environment:
    """What makes pages: it escapes every value, and fails on a name that is not given.

    A page gets one script, and its hash for a policy under which nothing else runs.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("metabench.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = environment.get_template("page.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": Markup(script), "script_hash": f"sha256-{digest}"}
    environment.filters |= {
        "number": typeset,
        "across": across,
        "outside": outside,
        "sort_key": sort_key,
    }
    return environment
