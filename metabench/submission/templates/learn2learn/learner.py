"""A module that learn2learn's MAML adapts and Adam meta-trains."""

import math

from torch import nn

from metabench import LearnerCard
from metabench.learners.adapters.learn2learn import Learn2LearnLearner


class Learner(Learn2LearnLearner):
    card = LearnerCard("my-learner", "gradient", ("classification", "regression"))

    def make(self, info):
        from learn2learn.algorithms import MAML

        outputs = info.max_way if info.kind == "classification" else info.output_dim
        # Edit here: any module that maps [N, *input_shape] to [N, outputs], in MAML or MetaSGD.
        net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(info.input_shape), 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, outputs),
        )
        nn.init.normal_(net[-1].weight, std=0.01)  # no class is preferred at the start
        nn.init.zeros_(net[-1].bias)
        return MAML(net, lr=0.1)
