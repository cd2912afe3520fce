"""A logistic regression on the features of a plain module that never saw a task."""

import math

from torch import nn

from metabench import LearnerCard
from metabench.learners.adapters.embedding import EmbeddingLearner


class Learner(EmbeddingLearner):
    card = LearnerCard("linear-probe", "transfer", ("classification",))
    head = "linear"  # "protonet": the nearest class mean

    def make(self, info):
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(info.input_shape), 256), nn.ReLU())
