"""The submission's side: a loop that answers the scorer, one request at a time.

Everything of metabench and torch is imported before the submission's folder can be, and the folder
comes last on the path: a file in it shadows nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from metabench.errors import BudgetExhausted, MetabenchError
from metabench.learners.build import LearnerClass, parameter_model, require_contract
from metabench.learners.contract import MetaLearner, StepLog, TaskInfo
from metabench.records import Budget, Usage
from metabench.rng import Address
from metabench.running.allocator import keep_freed_memory
from metabench.submission.frames import Channel, Frame
from metabench.submission.limits import Limits
from metabench.submission.messages import (
    OPTIONAL,
    Answer,
    Ask,
    unpack_info,
    unpack_query,
    unpack_support,
)
from metabench.submission.wishing import Lifeline, RemoteTasks

CPU = torch.device("cpu")
LONGEST = 2000
"""Characters of an error's message."""


class Worker:
    """One learner, the states it adapted, and copies of it with another inner loop."""

    def __init__(self, lifeline: Lifeline) -> None:
        self.lifeline = lifeline
        self.found: LearnerClass = MetaLearner
        self.info: TaskInfo | None = None
        self.learners: dict[int, MetaLearner[Any]] = {}
        self.states: dict[int, Any] = {}
        self.made = 0
        self.tasks: RemoteTasks | None = None
        self.steps: Iterator[StepLog] = iter(())

    def serve(self) -> None:
        """Until the scorer closes the channel."""
        while True:
            request = self.lifeline.request()
            for state in request.fields.get("free", ()):
                self.states.pop(state, None)
            for learner in request.fields.get("drop", ()):
                self.learners.pop(learner, None)
            try:
                self.handle(request)
            except EOFError:
                raise
            except BaseException as error:  # whatever it raises is told, SystemExit too
                text = " ".join(str(error).split())[:LONGEST]
                fields = {"type": type(error).__name__[:LONGEST], "message": text}
                self.lifeline.answer(Answer.FAILED, fields)

    def handle(self, request: Frame) -> None:
        """One request, with its answer."""
        fields, arrays, answer = request.fields, request.arrays, self.lifeline.answer
        match request.kind:
            case Ask.LOAD:
                answer(Answer.DONE, self.load(Path(fields["folder"]), fields["entry"]))
            case Ask.SETUP:
                self.setup(fields)
                answer(Answer.DONE)
            case Ask.ADVANCE:
                self.advance(fields, arrays)
            case Ask.STATE:
                answer(Answer.DONE, arrays=dict(self.learners[0].state_dict()))
            case Ask.RESTORE:
                self.learners[0].load_state_dict(arrays)
                answer(Answer.DONE)
            case Ask.RETUNE:
                own: Any = self.learners[fields["learner"]]
                changed = own.retuned(rate=fields["rate"], steps=fields["steps"])
                answer(Answer.DONE, {"learner": self.keep(self.learners, changed)})
            case _:
                learner = self.learners[fields["learner"]]
                half = bool(fields.get("half"))
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    self.predicting(learner, request)

    def predicting(self, learner: Any, request: Frame) -> None:
        """The requests that meta-test is made of."""
        fields, arrays, answer = request.fields, request.arrays, self.lifeline.answer
        suffix = "_embedded" if fields.get("embedded") else ""
        match request.kind:
            case Ask.ADAPT:
                state = getattr(learner, f"adapt{suffix}")(unpack_support(arrays))
                answer(Answer.DONE, {"state": self.keep(self.states, state)})
            case Ask.OBSERVE:
                state = learner.observe(self.states[fields["state"]], unpack_support(arrays))
                answer(Answer.DONE, {"state": self.keep(self.states, state)})
            case Ask.PREDICT:
                predict = getattr(learner, f"predict{suffix}")
                output = predict(self.states[fields["state"]], unpack_query(arrays)).output
                answer(Answer.DONE, arrays={"output": output})
            case Ask.EMBED:
                answer(Answer.DONE, arrays={"z": learner.embed_items(arrays["x"])})
            case _:
                raise MetabenchError(f"no request of kind {request.kind}")

    def keep(self, where: dict[int, Any], what: Any) -> int:
        """A new id for it."""
        self.made += 1
        where[self.made] = what
        return self.made

    def load(self, folder: Path, entry: str) -> dict[str, Any]:
        """Import the class and say what it has."""
        self.found = find_entry(folder, entry)
        fields = parameter_model(self.found).model_fields
        return {
            "methods": [name for name in OPTIONAL if hasattr(self.found, name)],
            "sequential": bool(self.found.card.sequential),
            "knobs": [knob.model_dump(mode="json") for knob in self.found.card.knobs],
            "parameters": {
                name: None if f.is_required() else f.get_default(call_default_factory=True)
                for name, f in fields.items()
            },
            "required": [name for name, f in fields.items() if f.is_required()],
        }

    def setup(self, fields: Mapping[str, Any]) -> None:
        """Construct with checked hyper-parameters, then set up."""
        model = parameter_model(self.found)
        values = model.model_validate(fields["parameters"]).model_dump()
        self.info = unpack_info(fields["info"])
        learner = self.found(**values)
        if hasattr(learner, "setup"):
            learner.setup(self.info, int(fields["seed"]), CPU)
        self.learners = {0: learner}

    def advance(self, fields: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> None:
        """One meta-step; the first one begins meta-training."""
        used = Usage.model_validate(fields["used"])
        if "start" in fields:
            start, assumed = fields["start"], self.info
            assert assumed is not None
            stub: Any = SimpleNamespace(
                kind=assumed.kind,
                input_shape=assumed.input_shape,
                output_dim=assumed.output_dim,
                largest_way=start["largest_way"],
            )
            budget = Budget.model_validate(start["budget"])
            self.tasks = RemoteTasks(
                assumed, stub, Address(()), budget, CPU, used, lifeline=self.lifeline
            )
            learner: Any = self.learners[0]
            self.steps = iter(learner.meta_fit(self.tasks, int(start["seed"])))
        assert self.tasks is not None
        self.tasks.used, self.tasks.seed = used, int(fields["generator"])
        self.tasks.offer = (fields["offer"], arrays) if "offer" in fields else None
        try:
            entry = next(self.steps, None)
        except BudgetExhausted:
            entry = None
        if entry is None:
            self.lifeline.answer(Answer.ENDED)
        else:
            loss = torch.tensor(float(entry.loss), dtype=torch.float64)
            self.lifeline.answer(Answer.DONE, arrays={"loss": loss})


class Source(SourceFileLoader):
    """Compiles a module's source, and never takes code that was compiled before.

    What Python keeps in ``__pycache__`` is no part of the folder's hash.
    """

    def get_code(self, fullname: str) -> CodeType:
        """Of the file as it is."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def source_only(folder: str) -> Callable[[str], FileFinder]:
    """A hook of ``sys.path_hooks``: modules of the folder come from ``.py`` files."""

    def hook(path: str) -> FileFinder:
        if not Path(path).is_relative_to(folder):
            raise ImportError(path)
        return FileFinder(path, (Source, SOURCE_SUFFIXES))

    return hook


def find_entry(folder: Path, entry: str) -> LearnerClass:
    """``module:Class`` of the folder, or of what is installed."""
    name, _, class_name = entry.rpartition(":")
    name = name.removesuffix(".py").replace("/", ".")
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    if "." not in name and path.is_file() and name not in sys.modules:
        loader = Source(name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(name)
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        raise MetabenchError(f"entry: {name} has no class {class_name!r}")
    return require_contract(found)


def main(fd: int, settings: str) -> None:
    """The body of the process: ``settings`` is JSON of limits, and whether it is alone."""
    given = json.loads(settings)
    limits = Limits.model_validate(given["limits"])
    torch.set_num_threads(1)
    keep_freed_memory()
    import metabench.learners  # noqa: F401  before the folder is on the path

    limits.apply(alone=given["alone"])
    end = socket.socket(fileno=fd)
    end.set_inheritable(False)
    sys.path_hooks.insert(0, source_only(given["folder"]))
    sys.path.append(given["folder"])
    with contextlib.suppress(EOFError, BrokenPipeError):
        Worker(Lifeline(Channel(end))).serve()
    sys.stdout.flush()
    os._exit(0)
