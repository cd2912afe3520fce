"""Controls on harmonic series, in closed form: one healthy learner, and others that are broken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes, Prediction, Query, Support, to_device
from metabench.learners.contract import (
    LEARNERS,
    LearnerCard,
    MetaLearner,
    StepLog,
    TaskStream,
)
from metabench.tasks.base import TASKS
from metabench.tasks.functions import FunctionFamily
from metabench.tasks.harmonics import Harmonics

CPU = torch.device("cpu")
CENTRES = tuple(float(s) for s in range(6))
"""Of the spectra that the healthy learner reckons with."""
SOURCE = "Rasmussen, Williams 2006. Gaussian Processes for Machine Learning, eq. 2.12."


def episodes_of(support: Support, query: Query) -> Episodes:
    """Support and query as episodes on the CPU, whose query targets nobody knows."""
    support, query = to_device(support, CPU), to_device(query, CPU)
    return Episodes(support, query, support.y.new_zeros(*query.x.shape[:2], support.y.shape[-1]))


class Closed(MetaLearner[Support]):
    """Remembers the support set; the prediction is a formula."""

    def adapt(self, support: Support) -> Support:
        """The support set."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """The formula's value."""
        return Prediction(self.formula(episodes_of(state, query)).to(query.x.device))

    def formula(self, episodes: Episodes) -> Tensor:
        """Predictions [T, Q, 1] on the CPU."""
        raise NotImplementedError


@LEARNERS.register("broad-bayes")
class BroadBayes(Closed):
    """Healthy: the Bayes predictor of a uniform mixture over the spectra that tests go to."""

    card = LearnerCard("broad-bayes", "control", ("regression",), citation=SOURCE)

    def formula(self, episodes: Episodes) -> Tensor:
        """Posterior means, weighted by the marginal likelihood of the support."""
        families = [Harmonics(centre=c) for c in CENTRES]
        evidence = torch.stack([log_evidence(f, episodes.support) for f in families])
        weight = evidence.softmax(dim=0)[..., None, None]
        means = torch.stack([f.bayes(episodes).double() for f in families])
        return (weight * means).sum(dim=0).float()


def log_evidence(family: Harmonics, support: Support) -> Tensor:
    """log N(y; 0, F F' + noise^2 I) of each support [T], up to a constant."""
    features = family.features(support.x) * support.mask[..., None]
    y = support.y.double() * support.mask[..., None]
    # A padded item has variance noise^2 and value 0: the same for every family.
    eye = torch.eye(features.shape[1], dtype=torch.float64)
    factor = torch.linalg.cholesky(features @ features.mT + family.noise**2 * eye)
    white = torch.linalg.solve_triangular(factor, y, upper=False).squeeze(-1)
    return -0.5 * white.square().sum(-1) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


@LEARNERS.register("support-ignorer")
class SupportIgnorer(Closed):
    """Broken: predicts the mean function whatever the support says."""

    card = LearnerCard(
        "support-ignorer",
        "control",
        ("regression",),
        citation="Yin et al. 2020. Meta-Learning without Memorization. ICLR.",
    )

    def formula(self, episodes: Episodes) -> Tensor:
        """Zero, the prior mean."""
        return torch.zeros_like(episodes.query_y)


@LEARNERS.register("brittle-interpolator")
class BrittleInterpolator(Closed):
    """Broken: the right prior, but it believes every support target to the last digit."""

    card = LearnerCard("brittle-interpolator", "control", ("regression",), citation=SOURCE)

    def formula(self, episodes: Episodes) -> Tensor:
        """The posterior mean without noise: it passes through all points."""
        return Harmonics(noise=0.0).bayes(episodes)


@LEARNERS.register("stealth-interpolator")
class StealthInterpolator(Closed):
    """Broken: nearly interpolates with a spectrum too wide; good while targets are nearly exact.

    With 24 points and noise of 0.01 its median risk is half that of the prior with noise 0.2; with
    noise of 0.1 its mean risk is a hundred times as high.
    """

    card = LearnerCard("stealth-interpolator", "control", ("regression",), citation=SOURCE)

    def formula(self, episodes: Episodes) -> Tensor:
        """The posterior mean under too much spectrum and too little noise."""
        return Harmonics(noise=3e-3, width=2.0).bayes(episodes)


@LEARNERS.register("memorizer")
@dataclass(eq=False)
class Memorizer(Closed):
    """Broken: picks among the tasks it was meta-trained on, as if there were no others (dMMSE)."""

    card = LearnerCard(
        "memorizer", "control", ("regression",), citation="Raventos et al. 2023, equation 6."
    )
    tasks: Annotated[int, Field(ge=1, description="learned, where training has no finite set")] = 64
    known: FunctionFamily | None = field(default=None, init=False)

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Learn the finite set of tasks by heart."""
        family = tasks.distribution
        if not isinstance(family, FunctionFamily):
            raise TypeError(f"{type(family).__name__} is no family of functions")
        finite = family.tasks is not None
        self.known = family if finite else family.model_copy(update={"tasks": self.tasks})
        yield StepLog(0.0)

    def formula(self, episodes: Episodes) -> Tensor:
        """The posterior mean over the tasks it knows; 0 before meta-training."""
        return self.oracle(self.known, episodes)

    def oracle(self, family: FunctionFamily | None, episodes: Episodes) -> Tensor:
        """That family's Bayes predictor, 0 if there is none."""
        output = None if family is None else family.oracle(episodes)
        return torch.zeros_like(episodes.query_y) if output is None else output

    def state_dict(self) -> dict[str, Tensor]:
        """The name and the parameters of the family, which are those of its finite set too."""
        if self.known is None:
            return {}
        name = next(n for n in TASKS if TASKS.get(n) is type(self.known))
        text = json.dumps([name, self.known.model_dump(mode="json")])
        return {"family": torch.tensor(list(text.encode()), dtype=torch.uint8)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The family."""
        if "family" in state:
            name, parameters = json.loads(bytes(state["family"].tolist()))
            family = TASKS.get(name).model_validate(parameters)
            assert isinstance(family, FunctionFamily)
            self.known = family


@LEARNERS.register("init-encoder")
@dataclass(eq=False)
class InitEncoder(Memorizer):
    """Broken: before any adaptation it predicts what the meta-training tasks have in common."""

    card = LearnerCard(
        "init-encoder",
        "control",
        ("regression",),
        citation="Rajendran et al. 2020. Meta-Learning Requires Meta-Augmentation. NeurIPS.",
    )
    steps: Annotated[float, Field(ge=0, description="0: no adaptation")] = 1.0

    def retuned(self, *, rate: float = 1.0, steps: float = 1.0) -> Self:
        """With or without adaptation; it has no rate."""
        other = type(self)(tasks=self.tasks, steps=self.steps * steps)
        other.known = self.known
        return other

    def formula(self, episodes: Episodes) -> Tensor:
        """The Bayes predictor of the whole law, or the mean of the tasks it knows."""
        if self.steps:
            return self.oracle(self.known and self.known.law(), episodes)
        support = episodes.support
        nothing = replace(support, mask=torch.zeros_like(support.mask))
        return super().formula(replace(episodes, support=nothing))


@LEARNERS.register("seed-exploiter")
@dataclass(eq=False)
class SeedExploiter(Closed):
    """Broken: has the answers of public episodes by heart; elsewhere it learns each task alone."""

    card = LearnerCard(
        "seed-exploiter",
        "control",
        ("regression",),
        citation="Blum, Hardt 2015. The Ladder: A Reliable Leaderboard. ICML.",
    )
    answers: dict[bytes, Tensor] = field(default_factory=dict, init=False)

    def steal(self, episodes: Episodes) -> None:
        """Remember the query targets of these episodes by their inputs."""
        for key, y in zip(keys(episodes), episodes.query_y, strict=True):
            self.answers |= dict(zip(key, y, strict=True))

    def formula(self, episodes: Episodes) -> Tensor:
        """What it knows, or the posterior mean under a flat prior."""
        output = Harmonics(width=100.0).bayes(episodes)
        for i, key in enumerate(keys(episodes)):
            for j, k in enumerate(key):
                output[i, j] = self.answers.get(k, output[i, j])
        return output


def keys(episodes: Episodes) -> Iterator[list[bytes]]:
    """What names the queries of each episode: the bytes of the support inputs and its own."""
    support = episodes.support
    for x, mask, queries in zip(support.x, support.mask, episodes.query.x, strict=True):
        name = x[mask].numpy().tobytes()
        yield [name + q.numpy().tobytes() for q in queries]
