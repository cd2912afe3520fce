"""The contract of a meta-learner and the reference implementations."""

from metabench.learners.baselines import nearest_neighbour, ridge, scratch
from metabench.learners.contract import (
    LEARNERS,
    LearnerCard,
    MetaLearner,
    StepLog,
    TaskInfo,
    TaskStream,
)
from metabench.learners.controls import narrow_bayes
from metabench.learners.gradient import maml
from metabench.learners.memory import mann
from metabench.learners.metric import (
    matchingnet,
    matchingnet_fce,
    protonet,
    protonet_transductive,
    r2d2,
    simple_cnaps,
)

__all__ = [
    "LEARNERS",
    "LearnerCard",
    "MetaLearner",
    "StepLog",
    "TaskInfo",
    "TaskStream",
    "maml",
    "mann",
    "matchingnet",
    "matchingnet_fce",
    "narrow_bayes",
    "nearest_neighbour",
    "protonet",
    "protonet_transductive",
    "r2d2",
    "ridge",
    "scratch",
    "simple_cnaps",
]
