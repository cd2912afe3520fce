"""Meta-training of a worker: it takes the steps, the scorer draws, meters and charges the tasks.

A worker that wanted one batch in its last step is offered the next before it asks, drawn while it
was computing. What it takes is charged as if it had asked; what it leaves comes next time, so that
nothing is gained by lying about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes
from metabench.errors import MetabenchError, TimeLimitError
from metabench.learners.contract import StepLog, TaskStream
from metabench.records import Usage
from metabench.submission.client import Client, Strict
from metabench.submission.frames import Frame
from metabench.submission.messages import Answer, Ask, Reply, pack_episodes
from metabench.submission.process import SubmissionError
from metabench.tasks.base import Count, Shape, bounds

LARGEST_BATCH = 2**28
"""Numbers in the inputs that a worker may ask for at once."""
LOSS_BYTES = 64


class WantTasks(Strict):
    """A wish for episodes."""

    tasks: int = Field(gt=0)
    way: int | list[int] | None
    shot: int | list[int] | None
    query: int | None = Field(ge=1)


class WantLabelled(Strict):
    """A wish for labelled items."""

    count: int = Field(gt=0)


@dataclass(frozen=True)
class Offer:
    """Episodes that were not asked for yet, and what is used up once they are taken."""

    want: WantTasks
    episodes: Episodes
    after: Usage


def meta_fit(client: Client, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
    """Drive the worker's ``meta_fit``, step by step."""
    client.deadline = tasks.deadline
    start: dict[str, Any] | None = {
        "budget": tasks.budget.model_dump(mode="json"),
        "seed": seed,
        "largest_way": tasks.distribution.largest_way,
    }
    offer: Offer | None = None
    while True:
        fields: dict[str, Any] = {
            "used": tasks.used.model_dump(mode="json"),
            "generator": tasks.address.child("learner", tasks.step).seed(),
        }
        arrays: dict[str, Tensor] = {}
        if start is not None:
            fields, start = {**fields, "start": start}, None
        if offer is not None:
            told = {"want": offer.want.model_dump(), "used": _charged(tasks, offer)}
            fields, arrays = {**fields, "offer": told}, pack_episodes(offer.episodes)
        with client.named():
            request = client.freeing(Frame(Ask.ADVANCE, 0, fields, arrays))
            client.worker.begin(request, client.until())
            following = None if offer is None else _drawn(client, tasks, offer.want, offer.after)
            frame = client.worker.hear(LOSS_BYTES, client.until())
        wanted: list[WantTasks | None] = []
        if offer is not None and frame.fields.get("taken") is True:
            wanted.append(offer.want)
            tasks.used = Usage.model_validate(_charged(tasks, offer))
        frame = client.checked(frame, Ask.ADVANCE)
        while frame.kind in (Answer.WANT_TASKS, Answer.WANT_LABELLED, Answer.WANT_CLASSES):
            given, want = _given(client, tasks, frame)
            wanted.append(want)
            with client.named():
                client.worker.send(given, client.until())
                following = None
                if len(wanted) == 1 and want is not None:
                    following = _drawn(client, tasks, want, tasks.used)
                frame = client.worker.hear(LOSS_BYTES, client.until())
            frame = client.checked(frame, Ask.ADVANCE)
        if frame.kind == Answer.ENDED:
            return
        if frame.kind != Answer.DONE:
            raise client.broken(f"answer of kind {frame.kind} to a meta-step")
        loss = client.array(frame, "loss")
        if loss.numel() != 1:
            raise client.broken(f"a loss of shape {list(loss.shape)}")
        offer = following if len(wanted) == 1 else None
        yield StepLog(float(loss))


def _charged(tasks: TaskStream, offer: Offer) -> dict[str, Any]:
    changes = {"tasks": offer.after.tasks, "examples": offer.after.examples}
    return tasks.used.model_copy(update=changes).model_dump(mode="json")


def _drawn(client: Client, tasks: TaskStream, want: WantTasks, used: Usage) -> Offer | None:
    """What that wish would bring next, with nothing charged; None where it would be denied."""
    kept, tasks.used = tasks.used, used
    try:
        episodes = _episodes(client, tasks, want)
        return Offer(want, episodes, tasks.used)
    except MetabenchError:
        return None
    finally:
        tasks.used = kept


def _episodes(client: Client, tasks: TaskStream, want: WantTasks) -> Episodes:
    way, shot = _count(client, want.way), _count(client, want.shot)
    _need_moderate(tasks, want.tasks, way, shot, want.query)
    return tasks.next(want.tasks, way=way, shot=shot, query=want.query)


def _given(client: Client, tasks: TaskStream, frame: Frame) -> tuple[Frame, WantTasks | None]:
    """What the stream gives for a wish, or why it does not; the wish, if for episodes."""
    want: WantTasks | None = None
    told = {k: v for k, v in frame.fields.items() if k != "taken"}
    fields: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    try:
        if frame.kind == Answer.WANT_TASKS:
            want = client.valid(WantTasks, told)
            arrays = pack_episodes(_episodes(client, tasks, want))
        elif frame.kind == Answer.WANT_LABELLED:
            count = client.valid(WantLabelled, told).count
            _need_at_most(count * math.prod(tasks.info.input_shape))
            x, y = tasks.labelled(count)
            arrays = {"x": x, "y": y}
        else:
            fields["classes"] = tasks.classes
    except (TimeLimitError, SubmissionError):
        raise
    except (MetabenchError, ValueError) as error:
        denied = {"type": type(error).__name__, "message": str(error)[:2000]}
        return Frame(Reply.DENIED, fields=denied), None
    fields["used"] = tasks.used.model_dump(mode="json")
    return Frame(Reply.GIVEN, 0, fields, arrays), want


def _count(client: Client, given: int | list[int] | None) -> Count | None:
    if not isinstance(given, list):
        return given
    if len(given) != 2:
        raise client.broken(f"no range: {given!r:.40}")
    return given[0], given[1]


def _need_moderate(
    tasks: TaskStream, count: int, way: Count | None, shot: Count | None, query: int | None
) -> None:
    shape: Shape = tasks.info.shape
    most = [bounds(c)[1] for c in (way or shape.way, shot or shape.shot)]
    items = count * max(1, most[0]) * (most[1] + (query or shape.query))
    _need_at_most(items * math.prod(tasks.info.input_shape))


def _need_at_most(numbers: int) -> None:
    if numbers > LARGEST_BATCH:
        raise MetabenchError(f"tasks of {numbers} numbers at once; at most {LARGEST_BATCH}")
