"""The drift constant: how often the world may switch for each time a learner adapts.

python benchmarks/reproduce/drift_constant.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from common import Figure
from exact import Check, Measures, run
from scipy.optimize import brentq
from torch import Tensor

from metabench.episodes import Episodes, Prediction, Query, Support
from metabench.estimators.drift import boundary
from metabench.learners.contract import LearnerCard, MetaLearner
from metabench.rng import Address, BlockDraws, Plan
from metabench.streams import evaluate_streams, kalman_gain
from metabench.tasks.base import Range
from metabench.tasks.drift import LinearGaussian, StreamSpec
from metabench.tasks.functions import Array, FunctionFamily
from metabench.tasks.harmonics import Harmonics, linear_gaussian

TAUS = (10, 20, 50, 100, 200, 500)
PUBLISHED = (0.117, 0.069, 0.028, 0.014, 0.0090, 0.0035)
STREAMS, STEPS, HAZARDS = 20, 10_000, 8
MEAN, T2 = "mean of a Gaussian, K = 5", "T2, K = 10"
WINDOWS = {MEAN: 5, T2: 10}
WALK, RATE, NOISE_VARIANCE = "random walk, q = 0.01, r = 0.25", 0.01, 0.25
ANOTHER = "another implementation [3P]"


class Constants(FunctionFamily):
    """y = w, the mean of what is seen: w standard normal, and as much noise."""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "constants"
    inputs: Range = (0.0, 1.0)
    noise: float = 1.0

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Weights [BLOCK, 1]."""
        return {"weights": draws("weights").standard_normal((draws.size, 1))}

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """w everywhere."""
        return np.broadcast_to(np.asarray(tasks["weights"], dtype=np.float64), x.shape)

    def features(self, x: Tensor) -> Tensor:
        """One."""
        return torch.ones_like(x, dtype=torch.float64)


@dataclass(eq=False)
class Posterior(MetaLearner[Support]):
    """The posterior mean under the law of one function, as if no item were of another."""

    family: LinearGaussian
    card = LearnerCard("posterior", "control", ("regression",))

    def adapt(self, support: Support) -> Support:
        """Remember the items."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """Exact."""
        at_support, at_query = (self.family.features(x) for x in (state.x, query.x))
        episodes = Episodes(state, query, torch.zeros_like(query.x[..., :1]))
        return Prediction(linear_gaussian(at_support, at_query, episodes, self.family.noise))


class Static(MetaLearner[None]):
    """The prior mean, whatever is seen."""

    card = LearnerCard("static", "control", ("regression",))

    def adapt(self, support: Support) -> None:
        """Nothing."""

    def predict(self, state: None, query: Query) -> Prediction:
        """Zero."""
        return Prediction(torch.zeros_like(query.x[..., :1]))


FAMILIES: dict[str, FunctionFamily] = {MEAN: Constants(), T2: Harmonics()}


def derived_boundary(tau: int, window: int, noise_variance: float) -> float:
    """h* of the posterior mean of ``window`` items, refrozen every ``tau``: where A is zero.

    The prediction is v m, m the mean of the items and v = 1 / (1 + r), r = noise variance / K.
    With rho = 1 - h, items apart by n have correlation rho^n, so that

        E (w - v m)^2 = 1 - 2 v mean_a,j rho^(a + j) + v^2 (mean_i,j rho^|i - j| + r)

    over ages a = 1..tau and items i, j = 0..K - 1; A is zero where this is 1. With a clean window
    (K << tau) both means over items are 1, and what is left is mean_a rho^a = 1/2 for any K and
    any noise: a function of an independent regime costs as much as one of the same regime gains.
    Then (1 - exp(-B)) / B = 1/2, B = 1.594.
    """
    ages, items = np.arange(1, tau + 1), np.arange(window)
    r = noise_variance / window

    def harm(hazard: float) -> float:
        rho = 1 - hazard
        within = float((rho ** abs(items[:, None] - items)).mean())
        return (within + r) / (1 + r) - 2 * float((rho**ages).mean() * (rho**items).mean())

    return float(brentq(harm, 1e-6, 0.99))


def hazards(tau: int) -> list[float]:
    """From half a switch to 4.5 in an interval between two adaptations."""
    return [float(h) for h in np.geomspace(0.5, 4.5, HAZARDS) / tau]


def measured_boundary(name: str, tau: int, address: Address) -> float:
    """h* of one set of streams; NaN if A does not meet zero."""
    family, levels = FAMILIES[name], hazards(tau)
    spec = StreamSpec(name="hazard", levels=levels, steps=STEPS, window=WINDOWS[name], every=tau)
    assert isinstance(family, LinearGaussian)

    def risk(learner: MetaLearner[Support] | MetaLearner[None]) -> Array:
        rows = evaluate_streams(learner, family, spec, address.child(tau), STREAMS)
        losses = rows[rows["metric"] == "mse"].groupby("level")["value"].mean()
        return losses.to_numpy(dtype=np.float64)

    static = risk(Static())
    curve = pd.DataFrame({0: (static - risk(Posterior(family))) / static}, index=levels)
    found = boundary(curve)
    return np.nan if found is None or found.rate is None else found.rate


def averages(address: Address) -> dict[str, float]:
    """Exponential averages of random walks: the best rate and its mean squared error."""
    generator = address.generator("walk")
    steps, noise = generator.standard_normal((2, 10_000, 200))
    rates = np.linspace(0.1, 0.3, 81)[:, None]
    state, average = np.zeros(200), np.zeros((81, 200))
    total = np.zeros(81)
    for t, (step, error) in enumerate(zip(steps, noise, strict=True)):
        state = state + np.sqrt(RATE) * step
        total += ((average - state) ** 2).mean(axis=1) if t >= 200 else 0
        average += rates * (state + np.sqrt(NOISE_VARIANCE) * error - average)
    best = int(total.argmin())
    return {
        "best rate": float(rates[best, 0]),
        "its error": float(total[best] / (len(steps) - 200)),
    }


def limit(tau: int) -> str:
    """The setting's name."""
    return f"h*, tau = {tau}"


def constant(tau: int) -> str:
    """The setting's name."""
    return f"B, tau = {tau}"


def measure(replicate: int) -> Measures:
    """One set of streams for every family and tau."""
    address = Address.of("benchmark", "drift-constant", replicate)
    values: dict[tuple[str, str], float] = {}
    for name in FAMILIES:
        for tau in TAUS:
            found = measured_boundary(name, tau, address.child(name))
            values[name, limit(tau)], values[name, constant(tau)] = found, found * tau
    return values | {(WALK, what): value for what, value in averages(address).items()}


def figures() -> tuple[Figure, ...]:
    """Published limits, derived constants, and T2, of which neither is known."""
    gain, before = kalman_gain(RATE, NOISE_VARIANCE)
    derived = {tau: round(tau * derived_boundary(tau, WINDOWS[MEAN], 1.0), 3) for tau in TAUS}
    return (
        *(
            Figure(MEAN, limit(tau), "", value, None, ANOTHER)
            for tau, value in zip(TAUS, PUBLISHED, strict=True)
        ),
        *(
            Figure(MEAN, constant(tau), "", derived[tau], None, "[D]", gate=("at most", 3.0))
            for tau in TAUS
        ),
        *(Figure(T2, constant(tau), gate=("at most", 3.0)) for tau in TAUS),
        Figure(WALK, "best rate", "", round(gain, 3), None, "[D]"),
        Figure(WALK, "its error", "", round(before, 4), None, "[D]"),
    )


CHECK = Check(
    name="drift_constant",
    title="The drift constant",
    unit="mean over sets of streams",
    notes=(
        "A learner is refrozen every tau items on the last K, in a world that switches with hazard "
        "h at each item; h* is where it loses as much as the prior that never adapts, and B = h* "
        "tau. The learner is the posterior mean, exact if no switch fell among its K items. For "
        "the mean of a Gaussian with as much noise B has a closed form. As tau grows it goes to "
        "1.594 for any K, noise and family: a learner breaks even where half of its predictions "
        "are about a world that is gone. "
        f"{STREAMS} streams of {STEPS:,} items at {HAZARDS} hazards. The noise of the other "
        "implementation is not known. Last two rows: the best exponential average of a random "
        "walk is the Kalman filter, whose gain and error are derived."
    ),
    figures=figures(),
    measure=measure,
    replicates=10,
    digits=4,
)

if __name__ == "__main__":
    run(CHECK)
