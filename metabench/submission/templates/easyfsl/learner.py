"""A few-shot classifier of EasyFSL, meta-trained on episodes by Adam."""

import math

from torch import nn

from metabench import LearnerCard
from metabench.learners.adapters.easyfsl import EasyFSLLearner  # FrozenEasyFSLLearner: as made


class Learner(EasyFSLLearner):
    card = LearnerCard("my-learner", "metric", ("classification",))

    def make(self, info):
        from easyfsl.methods import PrototypicalNetworks

        # Edit here: any FewShotClassifier on any module that maps [N, *input_shape] to [N, F].
        return PrototypicalNetworks(
            nn.Sequential(
                nn.Flatten(),
                nn.Linear(math.prod(info.input_shape), 128),
                nn.ReLU(),
                nn.Linear(128, 64),
            )
        )
