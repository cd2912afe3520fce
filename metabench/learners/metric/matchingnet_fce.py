"""Matching networks with full context embeddings (Vinyals et al. 2016, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Support
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS
from metabench.learners.memory.cells import layer, lstm, remember
from metabench.learners.metric.base import membership
from metabench.learners.metric.matchingnet import Attended, MatchingNet
from metabench.learners.network import ABSENT


@LEARNERS.register("matchingnet-fce")
@dataclass(eq=False)
class FullContextMatchingNet(MatchingNet):
    """Embeds every item in the context of the whole support set.

    A bidirectional LSTM reads the support set, in the order in which the items come: another
    order gives other embeddings, and the card says ``sequential``. An LSTM with attention over
    the support set reads each query by itself. LSTMs are as wide as the embedding, for the paper
    adds the one to the other. It leaves the number of attention steps open; 5 is our choice.
    """

    card = replace(MatchingNet.card, name="matchingnet-fce", sequential=True)

    attention_steps: Annotated[int, Field(ge=1, description="K of the attention LSTM")] = 5

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """The scale and three LSTMs."""
        parameters = super().head(generator)
        features = self.embedding.features
        for name, hidden in (("forwards", 1), ("backwards", 1), ("query", 2)):
            inputs = (1 + hidden) * features
            layer(parameters, name, inputs, 4 * features, generator)
            remember(parameters, name, features)
        return parameters

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Attended:
        """g = h_forwards + h_backwards + g' (appendix A.2)."""
        items = range(z.shape[1])
        there = self.read(parameters, "forwards", z, support.mask, items)
        back = self.read(parameters, "backwards", z, support.mask, items[::-1])
        return Attended(there + back + z, membership(support), support.way)

    def read(self, p: Parameters, name: str, z: Tensor, mask: Tensor, order: range) -> Tensor:
        """The LSTM's output after each item [T, S, F]; padding leaves no trace."""
        h = c = z.new_zeros(z.shape[0], z.shape[2])
        outputs = [h] * z.shape[1]
        for i in order:
            h_next, c_next = lstm_step(p, name, z[:, i], h, c)
            seen = mask[:, i, None]
            h, c = torch.where(seen, h_next, h), torch.where(seen, c_next, c)
            outputs[i] = h
        return torch.stack(outputs, dim=1)

    def attention(self, parameters: Parameters, state: Attended, z: Tensor) -> Tensor:
        """As without context, of the queries read in the context of the support."""
        return super().attention(parameters, state, self.in_context(parameters, state, z))

    def in_context(self, p: Parameters, state: Attended, z: Tensor) -> Tensor:
        """f = attLSTM(f', g, K) of the queries' embeddings z [T, Q, F] (appendix A.1)."""
        absent = state.member.sum(dim=-1) == 0
        h = c = torch.zeros_like(z)
        for _ in range(self.attention_steps):
            weight = (h @ state.g.mT).masked_fill(absent[:, None], ABSENT).softmax(dim=-1)
            read = weight @ state.g
            h_hat, c = lstm_step(p, "query", z, torch.cat([h, read], dim=-1), c)
            h = h_hat + z
        return h


def lstm_step(p: Parameters, name: str, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of a long short-term memory: output and cell; h may be wider than c."""
    inputs = torch.cat([x, h], dim=-1)
    return lstm(F.linear(inputs, p[f"{name}.weight"], p[f"{name}.bias"]), c)
