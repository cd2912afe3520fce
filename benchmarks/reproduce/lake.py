"""The 20 one-shot runs of Lake et al. 2015: 20-way within an alphabet, 400 fixed trials.

    python benchmarks/reproduce/lake.py --seeds 3

ProtoNet is that of ``omniglot.py``, meta-trained on the 30 background alphabets; its checkpoints
are used where the folder holds them.
"""

from __future__ import annotations

from typing import Any

import torch
from common import Figure, Job, Score, Scores, Table, reproduce
from omniglot import TABLE as OMNIGLOT

from metabench.episodes import to_device
from metabench.learners.contract import MetaLearner
from metabench.scoring import score as accuracy_of
from metabench.tasks.one_shot_runs import one_shot_runs

SETTING = "20 runs"
REPORT = "Lake et al. 2019, progress report"
SCIENCE = "Lake et al. 2015"


def score(job: Job, learner: MetaLearner[Any], seed: int, device: torch.device) -> Scores:
    """Error over the 400 trials, in percent."""
    runs = to_device(one_shot_runs(), device)
    prediction = learner.predict(learner.adapt(runs.support), runs.query)
    error = 100 * (1 - float(accuracy_of(prediction, runs).mean()))
    return {(job.learner, SETTING): Score(value=error)}


TABLE = Table(
    name="lake",
    title="Lake's one-shot runs",
    unit="error, %",
    test="400 trials, the same for every seed and learner",
    notes=(
        "Support and query of a trial are of one alphabet that was never trained on. With 400 "
        "trials an error of 4.5 has a binomial half-width of 2.0 points, so that people and BPL "
        "cannot be told apart; the interval over seeds has the training's variance alone. "
        "Published rows without a run are for comparison; the modified Hausdorff distance is "
        "measured by `hausdorff.py`, at the end of this page."
    ),
    figures=(
        Figure("protonet", SETTING, "protonet-1-shot", 13.7, None, f"{REPORT} [M]"),
        Figure("human", SETTING, value=4.5, source=f"{SCIENCE} [3P]"),
        Figure("BPL", SETTING, value=3.3, source=f"{SCIENCE} [3P]"),
        Figure("convolutional network", SETTING, value=13.5, source=f"{SCIENCE} [3P]"),
        Figure("deep siamese network", SETTING, value=8.0, source=f"{REPORT} [M]"),
        Figure("RCN, 5 alphabets", SETTING, value=7.3, source=f"{REPORT} [M]"),
        Figure("BPL, 5 alphabets", SETTING, value=4.2, source=f"{REPORT} [M]"),
        Figure("ProtoNet, 5 alphabets", SETTING, value=30.1, source=f"{REPORT} [M]"),
        Figure("modified Hausdorff distance", SETTING, value=38.8, source=f"{SCIENCE} [M]"),
    ),
    jobs=(OMNIGLOT.job("protonet-1-shot"),),
    score=score,
)

if __name__ == "__main__":
    reproduce(TABLE)
