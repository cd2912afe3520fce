"""A few gradient steps from a meta-learned start (MAML, Finn et al. 2017)."""

import math

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from metabench import LearnerCard, Prediction
from metabench.episodes import mask_absent_classes
from metabench.learners.network import item_loss
from metabench.learners.trainable import Trainable


class Learner(Trainable):
    card = LearnerCard("my-learner", "gradient", ("classification", "regression"))

    def __init__(
        self, lr: float = 1e-3, inner_lr: float = 0.1, inner_steps: int = 5, meta_batch: int = 8
    ) -> None:
        self.lr, self.inner_lr, self.inner_steps = lr, inner_lr, inner_steps
        self.meta_batch = meta_batch

    def setup(self, info, seed, device):
        outputs = info.max_way if info.kind == "classification" else info.output_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Edit here: any module that maps [N, *input_shape] to [N, outputs].
            self.net = nn.Sequential(
                nn.Flatten(),
                nn.Linear(math.prod(info.input_shape), 64),
                nn.ReLU(),
                nn.Linear(64, 64),
                nn.ReLU(),
                nn.Linear(64, outputs),
            )
            nn.init.normal_(self.net[-1].weight, std=0.01)  # no class is preferred at the start
            nn.init.zeros_(self.net[-1].bias)
        self.hold(dict(self.net.named_parameters()), device, self.lr)  # Adam

    def adapted(self, parameters, support):  # one set of parameters a task
        def loss(p, x, y, mask, way):
            return item_loss(functional_call(self.net, p, (x,)), y, mask, way)

        def one(x, y, mask, way):
            p = dict(parameters)
            for _ in range(self.inner_steps):
                g = grad(loss)(p, x, y, mask, way)
                p = {k: p[k] - self.inner_lr * g[k] for k in p}
            return p

        return vmap(one)(support.x, support.y, support.mask, support.way)

    def outputs(self, fast, x):  # [T, Q, W or D]
        return vmap(lambda p, x: functional_call(self.net, p, (x,)))(fast, x)

    def meta_fit(self, tasks, seed):
        while True:  # the budget ends it
            e = tasks.next(self.meta_batch)
            outputs = self.outputs(self.adapted(self.parameters, e.support), e.query.x)
            loss = vmap(item_loss)(outputs, e.query_y, e.query.mask, e.support.way).mean()
            yield self.update(loss)

    def adapt(self, support):
        return self.adapted(self.frozen, support), support

    def predict(self, state, query):
        fast, support = state
        outputs = self.outputs(fast, query.x)
        if support.kind == "classification":
            outputs = mask_absent_classes(outputs[..., : support.max_way], support.way)
        return Prediction(outputs)
