"""Attentive neural processes (Kim et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Support
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo
from metabench.learners.knobs import batch, rate, width
from metabench.learners.memory.cnp import Labelled, NeuralProcess
from metabench.learners.memory.context import (
    Context,
    add_mlp,
    divides,
    heads,
    linear,
    mlp,
    similarity,
)


@dataclass(frozen=True)
class Attended(Context):
    """keys, values [T, H, S, R / H] of the support items; mask [T, S]; latent [T, R]."""

    keys: Tensor
    values: Tensor
    mask: Tensor
    latent: Tensor


@LEARNERS.register("anp")
@dataclass(eq=False)
class Anp(NeuralProcess[Attended]):
    """Each query attends to the encoded support items, beside a latent of the whole task.

    Two paths lead to the decoder (figure 2): multi-head cross-attention from the query's inputs to
    those of the support set, and a normal latent whose parameters come from the mean of encoded
    items. In meta-training the latent is drawn given all items and pulled to what the support set
    alone gives (equation 3); a prediction takes the mean given the support set, so that it is
    deterministic and inductive. The paper has regression only; in classification targets are
    one-hot codes and outputs logits. There is no self-attention within the support set, as in the
    authors' notebook, whose sizes these are. It takes Adam at 5e-5 for 100,000 steps; the default
    here is for trainings of thousands of steps.
    """

    card = LearnerCard(
        name="anp",
        family="memory",
        kinds=("classification", "regression"),
        knobs=(rate("meta_lr", 5e-4, 1), batch("meta_batch", 16), width("encoder_layers", 4)),
        citation="Kim et al. 2019. Attentive Neural Processes. ICLR.",
    )

    heads: Annotated[int, Field(ge=1, description="of the cross-attention; they divide width")] = 8

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Fresh parameters; raises MetabenchError unless the heads divide the width."""
        divides(self.card.name, self.heads, self.width)
        super().setup(info, seed, device)

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Both encoders, the attention and the decoder."""
        parameters: dict[str, Tensor] = {}
        inputs, width = self.embedding.features, self.width
        self.add_encoder(parameters, "values", inputs + self.label_size, generator)
        add_mlp(parameters, "keys", (inputs, width, width), generator)
        for name in ("project_keys", "project_values", "project_queries", "project_found"):
            add_mlp(parameters, name, (width, width), generator)
        self.add_encoder(parameters, "latent", inputs + self.label_size, generator)
        add_mlp(parameters, "moments", (width, width, 2 * width), generator)
        self.add_decoder(parameters, 2 * width + inputs, generator)
        return parameters

    def latent(self, p: Parameters, items: Labelled) -> tuple[Tensor, Tensor]:
        """Mean and deviation [T, R] of the latent given these items."""
        each = mlp(p, "latent", torch.cat([items.z, items.labels], dim=-1))
        mask = items.mask[..., None].to(each.dtype)
        mean = (each * mask).sum(dim=1) / mask.sum(dim=1)
        centre, raw = mlp(p, "moments", mean).chunk(2, dim=-1)
        return centre, 0.1 + 0.9 * raw.sigmoid()

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Attended:
        """Keys, values and the mean of the latent."""
        p, labels = parameters, self.labels(support.y)
        values = mlp(p, "values", torch.cat([z, labels], dim=-1))
        return Attended(
            support.way,
            keys=heads(linear(p, "project_keys.0", mlp(p, "keys", z)), self.heads),
            values=heads(linear(p, "project_values.0", values), self.heads),
            mask=support.mask,
            latent=self.latent(p, Labelled(z, labels, support.mask))[0],
        )

    def scores(self, parameters: Parameters, state: Attended, z: Tensor) -> Tensor:
        """Attend with each query, then decode it with what was found and the latent."""
        p = parameters
        queries = heads(linear(p, "project_queries.0", mlp(p, "keys", z)), self.heads)
        weights = similarity(queries, state.keys, state.mask[:, None, None]).softmax(dim=-1)
        found = (weights @ state.values).transpose(1, 2).flatten(2)
        latent = state.latent[:, None].expand(-1, z.shape[1], -1)
        known = torch.cat([linear(p, "project_found.0", found), latent, z], dim=-1)
        return mlp(p, "decoder", known)

    def reconstruct(
        self, parameters: Parameters, z: Tensor, support: Support, whole: Labelled
    ) -> tuple[Tensor, Tensor | float]:
        """Outputs with a latent drawn given all items; its divergence, for each item."""
        labels = self.labels(support.y)
        prior = self.latent(parameters, Labelled(z, labels, support.mask))
        centre, deviation = self.latent(parameters, whole)
        noise = torch.randn(centre.shape, generator=self.draws).to(centre.device)
        state = replace(self.fit(parameters, z, support), latent=centre + deviation * noise)
        count = whole.mask.sum(dim=1)
        cost = (divergence(centre, deviation, *prior) / count).mean()
        return self.scores(parameters, state, whole.z), cost


def divergence(mean: Tensor, deviation: Tensor, mean0: Tensor, deviation0: Tensor) -> Tensor:
    """Kullback-Leibler divergence [T] of a normal distribution [T, R] from a second one."""
    ratio, shift = deviation / deviation0, (mean - mean0) / deviation0
    return (0.5 * (ratio.square() + shift.square() - 1) - ratio.log()).sum(dim=-1)
