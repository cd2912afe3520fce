"""A submission as a learner: the class the harness runs, whose instances each have a worker.

Only arrays cross: supports, queries, meta-training episodes one way; predictions, losses and
learned arrays the other. Adapted states stay in the worker and are named by number. There are no
gradients through a worker, so no such learner counts as differentiable: it is attacked as a black
box, where one in process may be attacked by its gradients.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from metabench.episodes import Prediction, Query, Support
from metabench.errors import MetabenchError, TimeLimitError, unknown
from metabench.learners.contract import LearnerCard, MetaLearner, StepLog, TaskInfo, TaskStream
from metabench.records import Knob, Parameter
from metabench.submission.audit import Auditor, Origin
from metabench.submission.findings import load_weights
from metabench.submission.folder import check_folder, folder_digest
from metabench.submission.frames import Frame
from metabench.submission.limits import Limits
from metabench.submission.messages import (
    OPTIONAL,
    Answer,
    Ask,
    Reply,
    pack_episodes,
    pack_info,
    pack_query,
    pack_support,
)
from metabench.submission.process import SubmissionError, WorkerProcess
from metabench.submission.sandbox import FOLDER, Choice, Isolation, choose
from metabench.tasks.base import Count, Shape, bounds

if TYPE_CHECKING:
    from metabench.submission.manifest import Manifest

WIDEST = 4096
"""Scores or targets of a query, at most."""
LARGEST_BATCH = 2**28
"""Numbers in the inputs that a worker may ask for at once."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Loaded(_Strict):
    """What a worker says of the class it loaded."""

    methods: list[str]
    sequential: bool
    knobs: list[Any]
    parameters: dict[str, Parameter]
    required: list[str]


class WantTasks(_Strict):
    """A wish for episodes."""

    tasks: int = Field(gt=0)
    way: int | list[int] | None
    shot: int | list[int] | None
    query: int | None = Field(ge=1)


class WantLabelled(_Strict):
    """A wish for labelled items."""

    count: int = Field(gt=0)


@dataclass
class Launcher:
    """Starts workers, one ahead: the next is ready while this one works."""

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
        worker, self.spare = self.spare or self.start(), None
        client = Client(self, worker)
        folder = FOLDER if self.isolation == "sandbox" else str(self.folder.resolve())
        deadline = time.monotonic() + self.limits.start_seconds
        request = Frame(Ask.LOAD, fields={"folder": folder, "entry": self.entry})
        loaded = client.valid(Loaded, client.done(request, deadline=deadline).fields)
        if self.ahead:
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
        free, drop = list(self.free), list(self.drop)
        # More may have come meanwhile.
        del self.free[: len(free)], self.drop[: len(drop)]
        self.held.difference_update(free)
        fields = {**request.fields, "free": free, "drop": drop}
        numbered = Frame(request.kind, 0, fields, request.arrays)
        with self.named():
            frame = self.worker.ask(numbered, limit, self.until(deadline))
        return self.checked(frame, Ask(request.kind))

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


@dataclass
class Session:
    """What a learner and its retuned copies share."""

    client: Client
    auditor: Auditor | None = None
    """Made before the first prediction, anew whenever the learner has changed."""


class Contained(MetaLearner[RemoteState]):
    """A learner that lives in a worker process. Subclasses are made by ``contained``."""

    differentiable: ClassVar[bool] = False
    isolation: ClassVar[Isolation]
    folder_digest: ClassVar[str]
    launcher: ClassVar[Launcher]
    weights: ClassVar[Mapping[str, Tensor]]
    """What its ``load_state_dict`` is given at the start; nothing: it is not called."""
    audits: ClassVar[bool] = True
    """Whether predictions are asked for again in a second worker."""

    def __init__(self, **parameters: Parameter) -> None:
        self.given = parameters
        self.number = 0
        """Of the learner within the worker."""
        self.factors: tuple[tuple[float, float], ...] = ()

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """In a worker of its own, on the CPU."""
        self.info, self.seed, self.device = info, seed, device
        self.session = Session(self.launcher.take()[0])
        fields = {"info": pack_info(info), "seed": seed, "parameters": self.given}
        self.client.done(Frame(Ask.SETUP, fields=fields))
        if self.weights:
            self.load_state_dict(self.weights)

    @property
    def client(self) -> Client:
        """The conversation with the worker."""
        return self.session.client

    def adapt(self, support: Support) -> RemoteState:
        """The state stays in the worker."""
        self._meet()
        return self.adapted(support, embedded=False)

    def predict(self, state: RemoteState, query: Query) -> Prediction:
        """The worker gets the inputs and their mask; some of its answers are audited."""
        return self._audited(state, query, embedded=False)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the worker's."""
        frame = self.client.done(Frame(Ask.STATE), self.launcher.limits.state)
        return {name: t.clone() for name, t in frame.arrays.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Into the worker."""
        self.session.auditor = None
        self.client.done(Frame(Ask.RESTORE, arrays=dict(state)))

    def adapted(self, support: Support, *, embedded: bool) -> RemoteState:
        """``adapt`` or ``adapt_embedded``."""
        fields = {"learner": self.number, "half": _half(), "embedded": embedded}
        origin = Origin(support, self.factors, embedded)
        return self.client.state(Frame(Ask.ADAPT, 0, fields, pack_support(support)), origin)

    def predicted(self, state: RemoteState, query: Query, *, embedded: bool) -> Tensor:
        """The output of ``predict`` or ``predict_embedded``."""
        fields = {"learner": self.number, "half": _half(), "embedded": embedded}
        request = Frame(Ask.PREDICT, 0, {**fields, "state": state.number}, pack_query(query))
        limit = query.mask.numel() * WIDEST * 8
        output = self.client.array(self.client.done(request, limit), "output")
        return output.to(self.device)

    def _meet(self) -> None:
        """Before the first task: keep the state that audits begin from."""
        if self.audits and self.session.auditor is None:
            start = partial(
                _again, type(self), self.given, self.info, self.seed, self.device, self.client
            )
            self.session.auditor = Auditor(start, self.state_dict(), self.card.transductive)

    def _audited(self, state: RemoteState, query: Query, *, embedded: bool) -> Prediction:
        output = self.predicted(state, query, embedded=embedded)
        if state.origin is not None and self.session.auditor is not None:
            self.session.auditor.look(state.origin, query, output)
        return Prediction(output)


def _again(
    learner_class: type[Contained],
    parameters: Mapping[str, Parameter],
    info: TaskInfo,
    seed: int,
    device: torch.device,
    client: Client,
) -> Contained:
    """The same learner in another worker. Refers to no instance, which would keep its worker."""
    other = learner_class(**parameters)
    other.setup(info, seed, device)
    other.client.deadline = client.deadline
    return other


def _half() -> bool:
    return torch.is_autocast_enabled("cpu")


def _meta_fit(self: Contained, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
    """The worker takes the steps; tasks are drawn, metered and charged here."""
    client, self.session.auditor = self.client, None
    client.deadline = tasks.deadline
    start: dict[str, Any] | None = {
        "budget": tasks.budget.model_dump(mode="json"),
        "seed": seed,
        "largest_way": tasks.distribution.largest_way,
    }
    while True:
        fields = {
            "used": tasks.used.model_dump(mode="json"),
            "generator": tasks.address.child("learner", tasks.step).seed(),
        }
        if start is not None:
            fields, start = {**fields, "start": start}, None
        frame = client.ask(Frame(Ask.ADVANCE, fields=fields), limit=8 * 64)
        while frame.kind in (Answer.WANT_TASKS, Answer.WANT_LABELLED, Answer.WANT_CLASSES):
            with client.named():
                client.worker.send(_given(client, tasks, frame), client.until())
                frame = client.worker.hear(8 * 64, client.until())
            frame = client.checked(frame, Ask.ADVANCE)
        if frame.kind == Answer.ENDED:
            return
        if frame.kind != Answer.DONE:
            raise client.broken(f"answer of kind {frame.kind} to a meta-step")
        loss = client.array(frame, "loss")
        if loss.numel() != 1:
            raise client.broken(f"a loss of shape {list(loss.shape)}")
        yield StepLog(float(loss))


def _given(client: Client, tasks: TaskStream, frame: Frame) -> Frame:
    """What the stream gives for a wish, or why it does not."""
    fields: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    try:
        if frame.kind == Answer.WANT_TASKS:
            want = client.valid(WantTasks, frame.fields)
            way, shot = _count(client, want.way), _count(client, want.shot)
            _need_moderate(tasks, want.tasks, way, shot, want.query)
            episodes = tasks.next(want.tasks, way=way, shot=shot, query=want.query)
            arrays = pack_episodes(episodes)
        elif frame.kind == Answer.WANT_LABELLED:
            count = client.valid(WantLabelled, frame.fields).count
            _need_at_most(count * math.prod(tasks.info.input_shape))
            x, y = tasks.labelled(count)
            arrays = {"x": x, "y": y}
        else:
            fields["classes"] = tasks.classes
    except (TimeLimitError, SubmissionError):
        raise
    except (MetabenchError, ValueError) as error:
        told = {"type": type(error).__name__, "message": str(error)[:2000]}
        return Frame(Reply.DENIED, fields=told)
    return Frame(Reply.GIVEN, 0, {**fields, "used": tasks.used.model_dump(mode="json")}, arrays)


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


def _observe(self: Contained, state: RemoteState, support: Support) -> RemoteState:
    fields = {"learner": self.number, "state": state.number, "half": _half()}
    return self.client.state(Frame(Ask.OBSERVE, 0, fields, pack_support(support)))


def _retuned(self: Contained, rate: float, steps: float) -> Contained:
    fields = {"learner": self.number, "rate": float(rate), "steps": float(steps)}
    made = self.client.done(Frame(Ask.RETUNE, fields=fields)).fields.get("learner")
    if not isinstance(made, int):
        raise self.client.broken("no id of a retuned learner")
    changed = copy.copy(self)
    changed.number = made
    changed.factors = (*self.factors, (float(rate), float(steps)))
    weakref.finalize(changed, self.client.drop.append, made)
    return changed


def _embed_items(self: Contained, x: Tensor) -> Tensor:
    request = Frame(Ask.EMBED, 0, {"learner": self.number, "half": _half()}, {"x": x})
    z = self.client.array(self.client.done(request, self.launcher.limits.state), "z")
    if z.ndim != 2 or len(z) != len(x) or not z.is_floating_point():
        raise self.client.broken(f"embeddings of shape {list(z.shape)} for {len(x)} inputs")
    return z.to(self.device)


def _adapt_embedded(self: Contained, support: Support) -> RemoteState:
    self._meet()
    return self.adapted(support, embedded=True)


def _predict_embedded(self: Contained, state: RemoteState, query: Query) -> Prediction:
    return self._audited(state, query, embedded=True)


METHODS: Mapping[str, Any] = {
    "meta_fit": _meta_fit,
    "observe": _observe,
    "retuned": _retuned,
    "embed_items": _embed_items,
    "adapt_embedded": _adapt_embedded,
    "predict_embedded": _predict_embedded,
}
assert tuple(METHODS) == OPTIONAL


def contained(
    manifest: Manifest,
    folder: Path,
    limits: Limits | None = None,
    isolation: Choice = "auto",
    *,
    ahead: bool = True,
    audits: bool = True,
) -> type[Contained]:
    """The submission in that folder as a learner class; its code runs in workers and nowhere else.

    Name, version, kinds, family, track, weights and the defaults of hyper-parameters are the
    manifest's; of the code's own card only the knobs and whether order matters are taken. ``ahead``
    starts each worker before it is needed, for where processors are idle. Raises MetabenchError
    where the folder or the isolation can't be had, and SubmissionError where the entry point can't
    be loaded.
    """
    check_folder(folder)
    chosen = choose(isolation)
    launcher = Launcher(manifest.name, manifest.entry, folder, limits or Limits(), chosen, ahead)
    launcher.first = launcher.take()
    loaded = launcher.first[1]
    try:
        knobs = tuple(Knob.model_validate(knob) for knob in loaded.knobs)
    except ValidationError as error:
        raise SubmissionError(f"{manifest.name}: knobs: {error.errors()[0]['msg']}") from None
    card = LearnerCard(
        name=manifest.name,
        family=manifest.family,
        kinds=tuple(manifest.kinds),
        citation=manifest.citation,
        version=manifest.version,
        transductive=manifest.track == "transductive",
        sequential=loaded.sequential,
        knobs=knobs,
    )
    namespace: dict[str, Any] = {
        "__doc__": f"The submission {manifest.name} {manifest.version}.",
        "__module__": "submission",
        "__signature__": _signature(loaded, manifest),
        "weights": load_weights(folder, manifest.weights) if manifest.weights else {},
        "card": card,
        "launcher": launcher,
        "audits": audits,
        "isolation": chosen,
        "folder_digest": folder_digest(folder),
        **{name: METHODS[name] for name in OPTIONAL if name in loaded.methods},
    }
    return type("Submission", (Contained,), namespace)


def _signature(loaded: Loaded, manifest: Manifest) -> inspect.Signature:
    """The hyper-parameters, as the harness looks them up; the worker checks their values."""
    known = {name: value for name, value in loaded.parameters.items() if name.isidentifier()}
    for name in manifest.parameters:
        if name not in known:
            told = unknown("hyper-parameter", name, known)
            raise SubmissionError(f"{manifest.name}: parameters: {told}")
    required = set(loaded.required) - set(manifest.parameters)
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if name in required else default,
            )
            for name, default in {**known, **manifest.parameters}.items()
        ]
    )
