"""Draws docs/images/domains.svg from the results of baldwin.py, immune.py and prices.py.

python benchmarks/reproduce/domains_figure.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import exact
import immune
import numpy as np
import prices
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metabench.domains.baldwin import Baldwin
from metabench.reports.palette import LIGHT
from metabench.rng import Address

FILE = Path(__file__).parents[2] / "docs" / "images" / "domains.svg"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#7b8490"
RUNS, GENERATIONS = 25, 50


def baldwin(axes: Axes) -> None:
    """Fitness by generation: every population of learners, and those that do not learn."""
    address = Address.of("benchmark", "baldwin")
    generations = np.arange(GENERATIONS + 1)
    for name, world, colour in (
        ("learners", Baldwin(), BLUE),
        ("nobody learns", Baldwin(guesses=0), ORANGE),
    ):
        runs = np.array(
            [world.evolve(address.child(name, i), GENERATIONS)["fitness"] for i in range(RUNS)]
        )
        axes.plot(generations, runs.T, color=colour, alpha=0.15, linewidth=0.7)
        axes.plot(generations, runs.mean(axis=0), color=colour, linewidth=2)
    axes.text(33, 17.2, "learners", color=BLUE)
    axes.text(27, 1.9, "nobody learns", color=ORANGE)
    axes.set(xlabel="generation", ylabel="mean fitness", ylim=(0, 20.5))
    axes.set_title("Guessing finds a needle\nthat evolution alone does not")


def recognition(axes: Axes) -> None:
    """Bits bound in the library's world and in another."""
    means = known(immune.CHECK)
    places = (("its\nworld", immune.SAME), ("new\nprototypes", immune.NEW))
    for shift, (name, label, colour) in enumerate(
        ((immune.RANDOM, "random", GREY), (immune.EVOLVED, "evolved", BLUE))
    ):
        for x, (_, where) in enumerate(places):
            key = name, immune.SAME if name == immune.RANDOM else where
            mean, half = means[key]
            at = x + 0.36 * shift - 0.18
            axes.bar(at, mean - 16, 0.34, bottom=16, color=colour)
            axes.errorbar(at, mean, half, color=LIGHT.ink, linewidth=1)
            axes.text(at, mean + 0.5, label, ha="center", color=colour)
    axes.set_xticks([0, 1], [label for label, _ in places])
    axes.set(ylabel="bits bound, of 32; chance is 16", ylim=(16, 33))
    axes.set_title("What gene libraries learned\nis their world")


def markets(axes: Axes) -> None:
    """Advantage by how long regimes last."""
    means = known(prices.CHECK)
    names = [name for name in prices.MARKETS if name.startswith("stay")]
    stays = [1 - prices.MARKETS[name].stay for name in names]
    for who, label, colour, at in (
        (prices.FILTER, "filter as learned", BLUE, (0.056, 0.95)),
        (prices.AVERAGE, "moving average", ORANGE, (0.021, -1.35)),
    ):
        mean, half = np.array([means[who, name] for name in names]).T
        axes.errorbar(stays, mean, half, color=colour, marker="o", markersize=4, linewidth=1.6)
        axes.text(*at, label, color=colour)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.text(0.021, -0.22, "no adaptation", color=GREY, va="top")
    axes.set_xscale("log")
    axes.set_xticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"])
    axes.minorticks_off()
    axes.set(xlabel="P(regime changes), a day", ylabel="advantage; own filter is 1")
    axes.set_title("Adapting to regimes slower\nthan they change does harm")


def known(check: exact.Check) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean and half-width of every figure; raises FileNotFoundError before the script has run."""
    outcomes = exact.load(check.path)
    if outcomes is None:
        raise FileNotFoundError(check.path)
    return {(r.learner, r.setting): (r.mean, r.half_width or 0.0) for r in outcomes.rows}


def main() -> None:
    """Write the figure."""
    style: Any = {
        "svg.hashsalt": "metabench",
        "svg.fonttype": "path",
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with rc_context(style):
        figure = Figure(figsize=(10, 3), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        baldwin(left)
        recognition(middle)
        markets(right)
        figure.savefig(FILE, metadata={"Date": None})


if __name__ == "__main__":
    main()
