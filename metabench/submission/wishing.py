"""How a worker speaks to the scorer: answers, and the wish for tasks in the middle of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metabench.episodes import Episodes
from metabench.errors import BudgetExhausted, MetabenchError, TimeLimitError
from metabench.learners.contract import TaskStream
from metabench.records import Usage
from metabench.submission.frames import Channel, Frame
from metabench.submission.messages import Answer, Reply, unpack_episodes
from metabench.tasks.base import Count


class Lifeline:
    """The channel, as the worker uses it: answers carry the number of the request."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.sequence = 0
        self.taken = False
        """Whether an offer was taken since the last answer."""

    def request(self) -> Frame:
        """The next; raises EOFError when the scorer is gone."""
        frame = self.channel.receive()
        self.sequence = frame.sequence
        return frame

    def answer(
        self,
        kind: Answer,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Tensor] | None = None,
    ) -> None:
        """To the request at hand."""
        told, self.taken = {"taken": True} if self.taken else {}, False
        told |= fields or {}
        self.channel.send(Frame(kind, self.sequence, told, arrays or {}))

    def want(self, kind: Answer, fields: Mapping[str, Any]) -> Frame:
        """Ask the scorer, in the middle of a request; raises what it answers with."""
        self.answer(kind, fields)
        frame = self.channel.receive()
        if frame.kind == Reply.DENIED:
            known = {e.__name__: e for e in (BudgetExhausted, TimeLimitError)}
            raise known.get(frame.fields["type"], MetabenchError)(frame.fields["message"])
        return frame


@dataclass
class RemoteTasks(TaskStream):
    """The stream of meta-training tasks, drawn and metered by the scorer.

    Its address stays there: a worker that knew it could draw what it did not pay for.
    """

    lifeline: Lifeline = field(kw_only=True)
    seed: int = 0
    """Of this meta-step's generator."""
    offer: tuple[Mapping[str, Any], Mapping[str, Tensor]] | None = None
    """What the scorer expects to be asked for: the wish with what it costs, the episodes."""

    def next(
        self,
        tasks: int,
        *,
        way: Count | None = None,
        shot: Count | None = None,
        query: int | None = None,
    ) -> Episodes:
        """As ``TaskStream.next``."""
        counts = [list(c) if isinstance(c, tuple) else c for c in (way, shot)]
        fields = {"tasks": int(tasks), "way": counts[0], "shot": counts[1], "query": query}
        offer, self.offer = self.offer, None
        if offer is not None and offer[0]["want"] == fields:
            self.lifeline.taken = True
            self.used = Usage.model_validate(offer[0]["used"])
            return unpack_episodes(offer[1])
        return unpack_episodes(self._want(Answer.WANT_TASKS, fields).arrays)

    def labelled(self, count: int) -> tuple[Tensor, Tensor]:
        """As ``TaskStream.labelled``."""
        arrays = self._want(Answer.WANT_LABELLED, {"count": int(count)}).arrays
        return arrays["x"], arrays["y"]

    @property
    def classes(self) -> int:
        """As ``TaskStream.classes``."""
        return int(self._want(Answer.WANT_CLASSES, {}).fields["classes"])

    def check_time(self) -> None:
        """The clock is the scorer's."""

    def generator(self) -> torch.Generator:
        """As ``TaskStream.generator``."""
        return torch.Generator().manual_seed(self.seed)

    def _want(self, kind: Answer, fields: Mapping[str, Any]) -> Frame:
        self.offer = None
        frame = self.lifeline.want(kind, fields)
        self.used = Usage.model_validate(frame.fields["used"])
        return frame
