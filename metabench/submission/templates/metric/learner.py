"""A learned embedding; a query belongs to the class with the nearest mean (Snell et al. 2017)."""

import math

import torch
from torch import nn
from torch.func import functional_call, vmap

from metabench import LearnerCard, Prediction
from metabench.episodes import mask_absent_classes
from metabench.learners.metric.protonet import prototypes, squared_distances
from metabench.learners.network import item_loss
from metabench.learners.trainable import Trainable


class Learner(Trainable):
    card = LearnerCard("my-learner", "metric", ("classification",))

    def __init__(self, lr: float = 1e-3, size: int = 64, meta_batch: int = 4) -> None:
        self.lr, self.size, self.meta_batch = lr, size, meta_batch

    def setup(self, info, seed, device):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Edit here: any module that maps [N, *input_shape] to [N, size].
            self.net = nn.Sequential(
                nn.Flatten(),
                nn.Linear(math.prod(info.input_shape), 128),
                nn.ReLU(),
                nn.Linear(128, self.size),
            )
        self.hold(dict(self.net.named_parameters()), device, self.lr)  # Adam

    def embed(self, parameters, x):  # [T, N, *X] -> [T, N, size]
        return functional_call(self.net, parameters, (x.flatten(0, 1),)).unflatten(0, x.shape[:2])

    def scores(self, parameters, support, x):  # [T, Q, W], higher is likelier
        means = prototypes(self.embed(parameters, support.x), support)
        return mask_absent_classes(
            -squared_distances(self.embed(parameters, x), means), support.way
        )

    def meta_fit(self, tasks, seed):
        while True:  # the budget ends it
            e = tasks.next(self.meta_batch)
            scores = self.scores(self.parameters, e.support, e.query.x)
            loss = vmap(item_loss)(scores, e.query_y, e.query.mask, e.support.way).mean()
            yield self.update(loss)

    def adapt(self, support):
        return support

    def predict(self, state, query):
        return Prediction(self.scores(self.frozen, state, query.x))
