"""The contract of a meta-learner and the reference implementations."""

from metabench.learners.baselines import (
    baseline_plus_plus,
    finetune,
    logistic,
    nearest_neighbour,
    ridge,
    scratch,
    sklearn,
)
from metabench.learners.contract import (
    LEARNERS,
    LearnerCard,
    MetaLearner,
    StepLog,
    TaskInfo,
    TaskStream,
)
from metabench.learners.controls import narrow_bayes
from metabench.learners.gradient import anil, imaml, maml, maml_pp, meta_sgd, protomaml, reptile
from metabench.learners.memory import lstm, mann, ntm
from metabench.learners.metric import (
    matchingnet,
    matchingnet_fce,
    protonet,
    protonet_transductive,
    r2d2,
    relationnet,
    simple_cnaps,
    simpleshot,
)

__all__ = [
    "LEARNERS",
    "LearnerCard",
    "MetaLearner",
    "StepLog",
    "TaskInfo",
    "TaskStream",
    "anil",
    "baseline_plus_plus",
    "finetune",
    "imaml",
    "logistic",
    "lstm",
    "maml",
    "maml_pp",
    "mann",
    "matchingnet",
    "matchingnet_fce",
    "meta_sgd",
    "narrow_bayes",
    "nearest_neighbour",
    "ntm",
    "protomaml",
    "protonet",
    "protonet_transductive",
    "r2d2",
    "relationnet",
    "reptile",
    "ridge",
    "scratch",
    "simple_cnaps",
    "simpleshot",
    "sklearn",
]
