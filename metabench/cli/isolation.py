"""The option that says what stands between a submission and the scorer."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

IsolationOption = Annotated[
    Literal["auto", "sandbox", "process"],
    typer.Option(help="What stands between the submission and the scorer; auto: the best here."),
]
