"""Meta-learning by the Baldwin effect (Fernando et al. 2018): evolution of what learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.func import vmap

from metabench.episodes import Episodes
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo, TaskStream
from metabench.learners.gradient.base import WIDTHS, GradientLearner, Items, query_of, support_of
from metabench.learners.gradient.lifting import looped
from metabench.learners.knobs import batch, rate, steps

Shaping = Literal["ranks", "standardised"]


@LEARNERS.register("baldwin")
@dataclass(eq=False)
class Baldwin(GradientLearner):
    """Evolves the initial weights and, for each tensor, the inner rate; no meta-gradient.

    An individual's fitness is what it scores on the queries of a meta-batch after its lifetime, the
    inner loop; what it acquired there is not inherited. Fernando et al. use a genetic algorithm on
    large populations; here selection is the evolution strategy of Salimans et al. 2017: a Gaussian
    around one genome, antithetic pairs, centred ranks, Adam. All individuals meet the same tasks.
    Rates are evolved as logarithms, so they stay positive. The sizes of population and meta-batch
    are ours: on images each individual of each task is a training of its own.
    """

    card = LearnerCard(
        name="baldwin",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=(
            rate("inner_lr", 0.01, 0, "regression"),
            rate("inner_lr", 0.5, 0, "classification"),
            steps("inner_steps"),
            rate("meta_lr", 0.01, 1),
            rate("sigma", 0.02, None),
            batch("meta_batch", 25, "regression"),
            batch("meta_batch", 4, "classification"),
            *WIDTHS,
        ),
        citation="Fernando et al. 2018. Meta-Learning by the Baldwin Effect. GECCO Companion; "
        "Hinton, Nowlan 1987. How Learning Can Guide Evolution. Complex Systems.",
    )
    std: ClassVar[float] = 0.1

    inner_steps: Annotated[int, Field(ge=1, description="steps of a lifetime")] = 5
    eval_steps: Annotated[
        int | None, Field(ge=1, description="inner steps at meta-test; None: as in meta-training")
    ] = None
    meta_lr: Annotated[float, Field(gt=0, description="Adam's rate")] = 0.01
    meta_batch: Annotated[
        int | None, Field(ge=1, description="tasks a step; None: 25 regression, 4 classification")
    ] = None
    pairs: Annotated[
        int | None,
        Field(ge=1, description="antithetic pairs; None: 64, and 8 of convolutional networks"),
    ] = None
    sigma: Annotated[float, Field(gt=0, description="deviation of a population's genes")] = 0.02
    shaping: Annotated[Shaping, Field(description="what fitness is turned into")] = "ranks"

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the first genome."""
        super().setup(info, seed, device)
        self.steps_at_test = self.eval_steps or self.inner_steps
        self.batch = self.meta_batch or (25 if info.kind == "regression" else 4)
        self.half = self.pairs or (8 if self.loops else 64)

    def meta_parameters(
        self, weights: dict[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The initial weights, and the logarithm of a rate for each tensor, in units of its own."""
        return weights | {f"rate.{k}": torch.zeros(()) for k in weights}

    @property
    def second_order(self) -> bool:
        """Nothing is differentiated through a lifetime."""
        return False

    def updated(
        self, meta: Parameters, fast: Parameters, gradients: Parameters, step: int
    ) -> dict[str, Tensor]:
        """Gradient descent at the rates of the genome."""
        return {k: p - self.lr * meta[f"rate.{k}"].exp() * gradients[k] for k, p in fast.items()}

    def schedule(self, tasks: TaskStream) -> None:
        """Mutations come from this step's generator."""
        self.draws = tasks.generator()

    def meta_gradient(
        self, meta: Parameters, episodes: Episodes
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The evolution strategy's gradient of minus the fitness, and the mean query loss."""
        support, query = support_of(episodes.support), query_of(episodes)

        def loss(genome: Parameters) -> Tensor:
            def one(support: Items, query: Items) -> Tensor:
                return self.task_loss(genome, support, query)

            losses: Tensor = self.lift(one)(support, query)
            return losses.mean()

        noise = {
            k: torch.randn((self.half, *p.shape), generator=self.draws, dtype=p.dtype).to(p.device)
            for k, p in meta.items()
        }
        with torch.no_grad():
            population = looped(loss) if self.loops else vmap(loss)
            return evolution_gradient(population, meta, noise, self.sigma, self.shaping)


def evolution_gradient(
    population: Callable[[dict[str, Tensor]], Tensor],
    genome: Parameters,
    noise: Parameters,
    sigma: float,
    shaping: Shaping | None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Estimate the gradient of a loss smoothed by N(0, sigma^2), and its mean over individuals.

    ``population`` maps genomes [2n, ...] to losses [2n]; ``noise`` is standard normal [n, ...].
    1 / (2 n sigma) sum_i (F(theta + sigma e_i) - F(theta - sigma e_i)) e_i (Salimans et al. 2017,
    algorithm 1 and section 2.1), with F the loss itself or, shaped, its centred ranks or scores.
    """
    genomes = {
        k: torch.cat([p + sigma * noise[k], p - sigma * noise[k]]) for k, p in genome.items()
    }
    losses = population(genomes)
    ahead, behind = shaped(losses, shaping).chunk(2)
    weight = (ahead - behind) / (2 * len(ahead) * sigma)
    return {k: torch.tensordot(weight, e, dims=1) for k, e in noise.items()}, losses.mean()


def shaped(losses: Tensor, shaping: Shaping | None) -> Tensor:
    """Losses [n] as centred ranks in [-1/2, 1/2], as standard scores, or as they are.

    Equal losses have equal ranks, so that a population without differences isn't selected from.
    """
    if shaping == "ranks":
        below = (losses[:, None] > losses).sum(dim=1)
        above = (losses[:, None] < losses).sum(dim=1)
        return (below - above).to(losses.dtype) / (2 * max(1, len(losses) - 1))
    if shaping == "standardised":
        centred = losses - losses.mean()
        return centred / centred.square().mean().sqrt().clamp_min(torch.finfo(losses.dtype).eps)
    return losses
