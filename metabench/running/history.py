"""A learner along its meta-training: what its checkpoints score, and how far they have moved."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from metabench.episodes import Episodes
from metabench.evaluation import chunks, episodes_of
from metabench.learners.contract import TaskStream
from metabench.predictors import LearnerPredictor
from metabench.records import IN_DISTRIBUTION
from metabench.rng import Address
from metabench.running.plan import Cell
from metabench.scoring import distance, require_fit, score
from metabench.suite import Point
from metabench.training import Checkpoint

SEEN = "seen-tasks"
"""The role of the condition whose risk is the proxy: it is evaluated at every checkpoint."""


def snapshot_steps(steps: int, count: int) -> tuple[int, ...]:
    """0 and about ``count`` meta-steps in geometric progression, from 1 to ``steps``."""
    if count == 0:
        return ()
    return (0, *sorted({int(s) for s in np.geomspace(1, steps, count).round()}))


def history(
    cell: Cell,
    final: LearnerPredictor,
    checkpoint: Checkpoint,
    stream: TaskStream,
    address: Address,
) -> pd.DataFrame:
    """Rows of every kept checkpoint in distribution and on seen tasks, with their checkpoint.

    Beside the metric there is "displacement": the mean squared difference of an episode's
    predictions (class probabilities, or targets) from those before meta-training. Of the last
    state it alone is there; what else there is of it the main evaluation has measured.
    """
    from metabench.running.cell import new_learner

    points = [p for p in cell.source.points if p.condition == IN_DISTRIBUTION or p.role == SEEN]
    count = cell.suite.get_preset(cell.key.preset).episodes
    first: dict[str, list[Tensor]] = {}
    frames = []
    for step, snapshot in [*checkpoint.snapshots().items(), (stream.used.steps, None)]:
        if snapshot is not None and step >= stream.used.steps:
            continue
        predictor = final
        if snapshot is not None:
            learner = new_learner(cell, final.device)
            if snapshot.load(learner) is None:
                continue
            predictor = LearnerPredictor(learner, final.device)
        for point in points:
            outputs, scores, moved = [], [], []
            for i, indices in enumerate(chunks(point, count)):
                stream.check_time()
                episodes = episodes_of(point, address, indices)
                prediction = predictor(point.distribution, episodes)
                outputs.append(comparable(require_fit(prediction, episodes), episodes))
                scores.append(score(prediction, episodes))
                start = first.setdefault(point.condition, outputs)
                moved.append(distance(outputs[i], start[i], episodes))
            values = {"displacement": moved}
            if snapshot is not None:
                values[cell.source.metric] = scores
            frames += [_rows(point, step, metric, parts) for metric, parts in values.items()]
    return pd.concat(frames, ignore_index=True)


def comparable(output: Tensor, episodes: Episodes) -> Tensor:
    """Targets, or class probabilities."""
    return output if episodes.support.kind == "regression" else output.softmax(dim=-1)


def _rows(point: Point, step: int, metric: str, parts: list[Tensor]) -> pd.DataFrame:
    values = torch.cat(parts).numpy()
    return pd.DataFrame(
        {
            "condition": point.condition,
            "level": point.level,
            "episode": range(len(values)),
            "metric": metric,
            "value": values,
            "checkpoint": step,
        }
    )
