"""The known-groups matrix as a table and as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from metabench.reports.figures import as_svg, styled
from metabench.reports.palette import LIGHT
from metabench.statistics import number


def wide(found: pd.DataFrame, column: str) -> pd.DataFrame:
    """Controls by probes, in the order of the matrix; healthy controls first."""
    table = found.pivot_table(
        index="label", columns="probe", values=column, sort=False, aggfunc="first", dropna=False
    )
    healthy = found.loc[found["wanted"].map(lambda w: w is False), "label"].unique()
    order = [*healthy, *(label for label in table.index if label not in set(healthy))]
    return table.loc[order]


def markdown(found: pd.DataFrame) -> str:
    """A row a control: value, flags of replicates, and the bound that is asked for."""
    probes = list(dict.fromkeys(found["probe"]))
    cells: dict[tuple[str, str], Any] = {
        (str(r["label"]), str(r["probe"])): r for r in found.to_dict("records")
    }
    lines = ["| control | " + " | ".join(probes) + " |", "| --- |" + " ---: |" * len(probes)]
    for label in wide(found, "rate").index:
        texts = []
        for probe in probes:
            cell = cells[label, probe]
            text = f"{number(cell['value'])}; {cell['flags']}/{cell['replicates']}"
            text = f"**{text}**" if cell["wanted"] is True else text
            texts.append(" ".join([text, *bound(cell)]))
        lines.append(f"| {label} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def bound(cell: Any) -> list[str]:
    """The bound that is asked for, in brackets, and whether it falls short."""
    texts = []
    if cell["wanted"] is True:
        texts = [f"(≥ {number(cell['low'])})"]
    elif cell["wanted"] is False:
        texts = [f"(≤ {number(cell['high'], 3)})"]
    return texts + (["**not accepted**"] if cell["accepted"] is False else [])


def listing(found: pd.DataFrame) -> str:
    """A row a control and probe: what is asked, value, flags of replicates, bound."""
    asked = {True: "must flag", False: "must not flag"}
    lines = [
        "| fault | control | probe | | value | flagged |",
        "| --- | --- | --- | --- | ---: | ---: |",
    ]
    for cell in found.to_dict("records"):
        flags = f"{cell['flags']}/{cell['replicates']}"
        words = (
            str(cell["group"]),
            str(cell["label"]),
            str(cell["probe"]),
            asked.get(cell["wanted"], ""),
            number(cell["value"]),
            " ".join([flags, *bound(cell)]),
        )
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def picture(found: pd.DataFrame) -> str:
    """SVG: the share of replicates that each probe flags, designated pairs outlined."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rates, wanted = wide(found, "rate"), wide(found, "wanted")
    rows, columns = rates.shape
    with styled(LIGHT):
        figure = Figure(figsize=(1.7 + 0.85 * columns, 0.75 + 0.36 * rows))
        axes = figure.add_axes((0.24, 0.04, 0.74, 0.76))
        values = rates.to_numpy(np.float64)
        axes.imshow(values, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
        for i in range(rows):
            for j in range(columns):
                ink = "white" if values[i, j] > 0.6 else LIGHT.ink
                axes.text(j, i, f"{100 * values[i, j]:.0f} %", ha="center", va="center", color=ink)
                if wanted.iloc[i, j] is True:
                    box = Rectangle((j - 0.47, i - 0.46), 0.94, 0.92, fill=False, ec=LIGHT.ink)
                    axes.add_patch(box)
        axes.set_xticks(range(columns), list(rates.columns))
        axes.set_yticks(range(rows), list(rates.index))
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return as_svg(figure)
