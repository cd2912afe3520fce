"""The conversation with one worker, and how workers come about."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from metabench.errors import MetabenchError, TimeLimitError
from metabench.records import Parameter
from metabench.submission.audit import Origin
from metabench.submission.frames import Frame
from metabench.submission.limits import Limits
from metabench.submission.messages import Answer, Ask
from metabench.submission.process import SubmissionError, WorkerProcess
from metabench.submission.sandbox import FOLDER, Isolation


class Strict(BaseModel):
    """What a worker says, believed no further than its types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Loaded(Strict):
    """What a worker says of the class it loaded."""

    methods: list[str]
    sequential: bool
    knobs: list[Any]
    parameters: dict[str, Parameter]
    required: list[str]


@dataclass
class Launcher:
    """Starts workers in pairs: while one loads and works, the one that audits it gets ready."""

    name: str
    entry: str
    folder: Path
    limits: Limits
    isolation: Isolation
    ahead: bool = True
    spare: WorkerProcess | None = None
    first: tuple[Client, Loaded] | None = None
    """The worker that was asked what the class has: nobody's learner yet."""

    def start(self) -> WorkerProcess:
        """A worker that has loaded nothing yet."""
        return WorkerProcess(self.isolation, self.folder, self.limits)

    def take(self) -> tuple[Client, Loaded]:
        """A worker that has loaded the submission."""
        if self.first is not None:
            first, self.first = self.first, None
            return first
        ready, self.spare = self.spare, None
        client = Client(self, ready or self.start())
        folder = FOLDER if self.isolation == "sandbox" else str(self.folder.resolve())
        deadline = time.monotonic() + self.limits.start_seconds
        request = Frame(Ask.LOAD, fields={"folder": folder, "entry": self.entry})
        loaded = client.valid(Loaded, client.done(request, deadline=deadline).fields)
        if self.ahead and ready is None:
            self.spare = self.start()
            weakref.finalize(self, self.spare.kill)
        return client, loaded


@dataclass
class Client:
    """The conversation with one worker."""

    launcher: Launcher
    worker: WorkerProcess
    deadline: float = math.inf
    """time.monotonic() at which the cell's time is up."""
    free: list[int] = field(default_factory=list)
    """States that nobody holds any longer."""
    drop: list[int] = field(default_factory=list)
    """Retuned learners that nobody holds any longer."""
    held: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.worker.kill)

    def done(self, request: Frame, limit: int = 0, deadline: float | None = None) -> Frame:
        """The answer; SubmissionError where it is anything but DONE."""
        frame = self.ask(request, limit, deadline)
        if frame.kind != Answer.DONE:
            raise self.broken(f"answer of kind {frame.kind} where nothing was to be asked")
        return frame

    def ask(self, request: Frame, limit: int = 0, deadline: float | None = None) -> Frame:
        """The first answer, with at most ``limit`` bytes of arrays; raises what the worker did."""
        with self.named():
            frame = self.worker.ask(self.freeing(request), limit, self.until(deadline))
        return self.checked(frame, Ask(request.kind))

    def freeing(self, request: Frame) -> Frame:
        """The request, with the numbers of what nobody holds any longer."""
        free, drop = list(self.free), list(self.drop)
        # More may have come meanwhile.
        del self.free[: len(free)], self.drop[: len(drop)]
        self.held.difference_update(free)
        fields = {**request.fields, "free": free, "drop": drop}
        return Frame(request.kind, 0, fields, request.arrays)

    def until(self, deadline: float | None = None) -> float:
        """When patience ends."""
        if deadline is not None:
            return deadline
        return min(self.deadline, time.monotonic() + self.launcher.limits.call_seconds)

    def checked(self, frame: Frame, asked: Ask) -> Frame:
        """The frame, unless it tells of an error."""
        if frame.kind == Answer.FAILED:
            said = {k: str(frame.fields.get(k, ""))[:2000] for k in ("type", "message")}
            text = " ".join(f"{said['type']}: {said['message']}".split())
            raise SubmissionError(f"{self.launcher.name}: in {asked.name.lower()}: {text}")
        return frame

    def named(self) -> _Named:
        """Errors inside carry the submission's name."""
        return _Named(self.launcher.name)

    def valid(self, model: type[Any], fields: Mapping[str, Any]) -> Any:
        """The fields as that model; the worker is killed where they are none."""
        try:
            return model.model_validate(dict(fields))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            raise self.broken(f"{model.__name__}: {where}: {problem['msg']}") from None

    def array(self, frame: Frame, name: str) -> Tensor:
        """The only array of an answer."""
        if set(frame.arrays) != {name}:
            raise self.broken(f"an answer with arrays {sorted(frame.arrays)}, expected {name}")
        return frame.arrays[name]

    def broken(self, what: str) -> MetabenchError:
        """Kills the worker; the error to raise."""
        self.worker.kill()
        return SubmissionError(f"{self.launcher.name}: protocol: {what}")

    def state(self, request: Frame, origin: Origin | None = None) -> RemoteState:
        """The state that a worker has made."""
        if len(self.held) - len(self.free) >= self.launcher.limits.states:
            raise self.broken(f"more than {self.launcher.limits.states} adapted states are held")
        made = self.done(request).fields.get("state")
        if not isinstance(made, int) or made in self.held:
            raise self.broken(f"no id of a new state: {str(made)[:40]!r}")
        self.held.add(made)
        return RemoteState(made, self, origin)


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, SubmissionError | TimeLimitError):
            raise type(error)(f"{self.name}: {error}") from None


class RemoteState:
    """The name of a state in a worker, which frees it when nobody holds the name."""

    def __init__(self, number: int, client: Client, origin: Origin | None = None) -> None:
        self.number = number
        self.client = client
        self.origin = origin

    def __del__(self) -> None:
        self.client.free.append(self.number)
