"""The support set read into one vector, which answers queries (CNP, Garnelo et al. 2018)."""

import math

import torch
from torch import nn
from torch.func import functional_call, vmap

from metabench import LearnerCard, Prediction
from metabench.learners.network import item_loss
from metabench.learners.trainable import Trainable


class Learner(Trainable):
    card = LearnerCard("my-learner", "memory", ("regression",))

    def __init__(self, lr: float = 1e-3, size: int = 64, meta_batch: int = 16) -> None:
        self.lr, self.size, self.meta_batch = lr, size, meta_batch

    def setup(self, info, seed, device):
        inputs = math.prod(info.input_shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Edit here: what writes an item into memory, and what reads the answer out of it.
            self.net = nn.ModuleDict(
                {
                    "write": _mlp(inputs + info.output_dim, self.size, self.size),
                    "read": _mlp(inputs + self.size, self.size, info.output_dim),
                }
            )
        self.hold(dict(self.net.named_parameters()), device, self.lr)  # Adam

    def call(self, parameters, part, x):
        own = {k.removeprefix(f"{part}."): p for k, p in parameters.items() if k.startswith(part)}
        return functional_call(self.net[part], own, (x,))

    def written(self, parameters, support):  # [T, size]: the mean over items
        items = torch.cat([support.x.flatten(2), support.y], dim=-1)
        mask = support.mask[..., None].float()
        return (self.call(parameters, "write", items) * mask).sum(1) / mask.sum(1).clamp_min(1)

    def answers(self, parameters, memory, x):  # [T, Q, D]
        both = [x.flatten(2), memory[:, None].expand(-1, x.shape[1], -1)]
        return self.call(parameters, "read", torch.cat(both, dim=-1))

    def meta_fit(self, tasks, seed):
        while True:  # the budget ends it
            e = tasks.next(self.meta_batch)
            outputs = self.answers(
                self.parameters, self.written(self.parameters, e.support), e.query.x
            )
            loss = vmap(item_loss)(outputs, e.query_y, e.query.mask, e.support.way).mean()
            yield self.update(loss)

    def adapt(self, support):
        return self.written(self.frozen, support)

    def predict(self, state, query):
        return Prediction(self.answers(self.frozen, state, query.x))


def _mlp(inputs, hidden, outputs):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
