"""A submission as a learner: the class the harness runs, whose instances each have a worker.

Only arrays cross: supports, queries, meta-training episodes one way; predictions, losses and
learned arrays the other. Adapted states stay in the worker and are named by number. There are no
gradients through a worker, so no such learner counts as differentiable: it is attacked as a black
box, where one in process may be attacked by its gradients.
"""

from __future__ import annotations

import copy
import inspect
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor

from metabench.episodes import Prediction, Query, Support
from metabench.errors import unknown
from metabench.learners.contract import LearnerCard, MetaLearner, StepLog, TaskInfo, TaskStream
from metabench.records import Knob, Parameter
from metabench.submission.audit import Auditor, Origin
from metabench.submission.client import Client, Launcher, Loaded, RemoteState
from metabench.submission.findings import load_weights
from metabench.submission.folder import check_folder, folder_digest
from metabench.submission.frames import Frame
from metabench.submission.giving import meta_fit
from metabench.submission.limits import Limits
from metabench.submission.messages import (
    OPTIONAL,
    Ask,
    pack_info,
    pack_query,
    pack_support,
)
from metabench.submission.process import SubmissionError
from metabench.submission.sandbox import Choice, Isolation, choose

if TYPE_CHECKING:
    from metabench.submission.manifest import Manifest

WIDEST = 4096
"""Scores or targets of a query, at most."""


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
    self.session.auditor = None
    return meta_fit(self.client, tasks, seed)


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
    starts the worker of audits before it is needed, for where processors are idle. Raises
    MetabenchError where the folder or the isolation can't be had, and SubmissionError where the
    entry point can't be loaded.
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
