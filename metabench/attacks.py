"""Perturbations found by looking at the learner: through its adaptation, or by trying.

Both attacks change inputs by at most epsilon in the maximum norm, know the query labels, and
evaluate the learner ``EVALUATIONS`` times, adaptation included, so that learners with and without
gradients face the same budget. They stay in the interval that clean inputs of images lie in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.conditions import On
from metabench.episodes import Episodes, Query, Support
from metabench.predictors import Predictor
from metabench.rng import Address, BlockDraws, Plan, draw
from metabench.tasks import TaskDistribution

STEPS, RESTARTS = 20, 3
EVALUATIONS = STEPS * RESTARTS
STEP = 2.5 / STEPS
"""Of a gradient step, in epsilons (Madry et al. 2018)."""
SHARE = 0.2
"""Of the coordinates of an item that one random trial draws anew."""

Part = Literal["support", "query"]
Method = Literal["gradient-attack", "random-attack"]


@dataclass(frozen=True)
class Attack:
    """One attack on the support, the query or both, of radius ``epsilon``."""

    method: Method
    epsilon: float
    on: On

    def __call__(
        self,
        predictor: Predictor,
        distribution: TaskDistribution,
        episodes: Episodes,
        address: Address,
        indices: range,
    ) -> Episodes:
        """The worst episodes found; the unchanged ones are among the candidates."""
        search = _Search(self, predictor, distribution, episodes, address, indices)
        return search.by_gradients() if self.method == "gradient-attack" else search.by_trials()


@dataclass(frozen=True)
class _Sizes:
    """A hashable planner of the random numbers of one trial."""

    items: int
    shape: tuple[int, ...]

    def __call__(self, draws: BlockDraws) -> Plan:
        size = (draws.size, self.items, *self.shape)
        return {
            "sign": draws("sign").integers(0, 2, size) * 2.0 - 1.0,
            "redrawn": draws("redrawn").random(size) < SHARE,
            "start": draws("start").random(size) * 2.0 - 1.0,
        }


@dataclass
class _Search:
    attack: Attack
    predictor: Predictor
    distribution: TaskDistribution
    episodes: Episodes
    address: Address
    indices: range

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is attacked."""
        return ("support", "query") if self.attack.on == "both" else (self.attack.on,)

    def by_trials(self) -> Episodes:
        """Random search over the corners of the ball: a change is kept where the loss grows."""
        change: dict[Part, Tensor] = {part: torch.zeros_like(self._x(part)) for part in self.parts}
        worst = self._losses(change)
        with torch.no_grad():
            for trial in range(EVALUATIONS - 1):
                proposed: dict[Part, Tensor] = {}
                for part, now in change.items():
                    arrays = self._arrays(part, trial)
                    corner = (self.attack.epsilon * arrays["sign"]).to(now.dtype)
                    # The first trial leaves no coordinate at zero.
                    new = arrays["redrawn"] if trial else torch.ones_like(arrays["redrawn"])
                    proposed[part] = torch.where(new, corner, now)
                losses = self._losses(proposed)
                better = losses > worst
                worst = torch.where(better, losses, worst)
                change = {k: _choose(better, proposed[k], v) for k, v in change.items()}
        return self._changed(change)

    def by_gradients(self) -> Episodes:
        """Projected gradient ascent on the query loss, through adaptation, from random starts."""
        best: dict[Part, Tensor] = {part: torch.zeros_like(self._x(part)) for part in self.parts}
        worst = self._losses(best)
        epsilon = self.attack.epsilon
        for restart in range(RESTARTS):
            change = {k: self._start(k, restart).to(v.dtype) * epsilon for k, v in best.items()}
            for _ in range(STEPS):
                leaves = {k: v.detach().requires_grad_() for k, v in change.items()}
                with torch.enable_grad():
                    losses = self._losses(leaves)
                    found = torch.autograd.grad(
                        losses.sum(), list(leaves.values()), materialize_grads=True
                    )
                worst, best = self._worse(worst, best, losses.detach(), change)
                slopes = (g.nan_to_num().sign() for g in found)
                change = {
                    k: (v + STEP * epsilon * slope).clamp(-epsilon, epsilon)
                    for (k, v), slope in zip(change.items(), slopes, strict=True)
                }
            worst, best = self._worse(worst, best, self._losses(change), change)
        return self._changed(best)

    def _worse(
        self,
        worst: Tensor,
        best: Mapping[Part, Tensor],
        losses: Tensor,
        change: Mapping[Part, Tensor],
    ) -> tuple[Tensor, dict[Part, Tensor]]:
        better = losses > worst
        kept = {k: _choose(better, change[k], v) for k, v in best.items()}
        return torch.where(better, losses, worst), kept

    def _x(self, part: Part) -> Tensor:
        return self.episodes.support.x if part == "support" else self.episodes.query.x

    def _arrays(self, part: Part, trial: int) -> Mapping[str, Tensor]:
        x = self._x(part)
        planner = _Sizes(x.shape[1], tuple(x.shape[2:]))
        plan = draw(planner, self.address.child("attack", part, trial), self.indices)
        return {k: torch.from_numpy(np.asarray(v)) for k, v in plan.items()}

    def _start(self, part: Part, restart: int) -> Tensor:
        return self._arrays(part, restart)["start"]

    def _losses(self, change: Mapping[Part, Tensor]) -> Tensor:
        episodes = self._changed(change)
        output = self.predictor(self.distribution, episodes).output.cpu()
        return losses_of(output, episodes)

    def _changed(self, change: Mapping[Part, Tensor]) -> Episodes:
        support, query = self.episodes.support, self.episodes.query
        limit = partial(within, image=len(self.distribution.input_shape) == 3)
        if "support" in change:
            support = replace(support, x=limit(_added(support, change["support"])))
        if "query" in change:
            query = replace(query, x=limit(_added(query, change["query"])))
        return replace(self.episodes, support=support, query=query)


def losses_of(output: Tensor, episodes: Episodes) -> Tensor:
    """Mean query loss of each episode [T]: cross-entropy or squared error; infinite for NaN."""
    mask, y = episodes.query.mask.cpu(), episodes.query_y.cpu()
    if episodes.support.kind == "regression":
        each = (output - y).square().mean(dim=-1)
    else:
        absent = torch.arange(output.shape[-1]) >= episodes.support.way.cpu()[:, None]
        scores = output.masked_fill(absent[:, None], -1e9).clamp_min(-1e9)
        each = F.cross_entropy(scores.mT, y, reduction="none")
    return (each * mask).sum(dim=1).nan_to_num(nan=float("inf")) / mask.sum(dim=1)


def within(x: Tensor, *, image: bool) -> Tensor:
    """Pixels stay in [0, 1]."""
    return x.clamp(0, 1) if image else x


def _added(part: Support | Query, change: Tensor) -> Tensor:
    return part.x + change * part.mask.view(*part.mask.shape, *[1] * (change.ndim - 2))


def _choose(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.view(-1, *[1] * (old.ndim - 1)), new.detach(), old)
