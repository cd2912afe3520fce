"""A worker process as the scorer holds it: started, asked, watched, killed as a group."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from metabench.errors import MetabenchError, TimeLimitError
from metabench.submission.frames import Channel, Frame, ProtocolError
from metabench.submission.limits import Limits
from metabench.submission.sandbox import ENVIRONMENT, FOLDER, Isolation, command

TAIL = 2048
"""Bytes kept of what it printed last."""
LOOK_SECONDS = 0.1
"""Between two looks at its processes and memory."""
BUFFER = 2**20


class SubmissionError(MetabenchError):
    """What a submission did wrong, or how its process ended."""


class WorkerProcess:
    """One worker. Every method that talks to it raises SubmissionError once it is gone."""

    def __init__(self, isolation: Isolation, folder: Path, limits: Limits) -> None:
        self.limits = limits
        self.why = ""
        """Why it was killed."""
        self.killed = False
        self.tail = b""
        self.printed = 0
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        boxed = isolation == "sandbox"
        settings = {
            "limits": limits.model_dump(),
            "alone": boxed,
            "folder": FOLDER if boxed else str(folder.resolve()),
        }
        self.scratch = tempfile.TemporaryDirectory(prefix="metabench-", ignore_cleanup_errors=True)
        home = {"HOME": self.scratch.name, "TMPDIR": self.scratch.name}
        chosen = command(isolation, folder, limits, theirs.fileno(), json.dumps(settings))
        with theirs, chosen as (words, inherited):
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                env={**ENVIRONMENT, **home},
                cwd=self.scratch.name,
                start_new_session=True,
                bufsize=0,
            )
        self.channel = Channel(ours)
        self.sequence = 0
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def ask(self, frame: Frame, limit: int, deadline: float) -> Frame:
        """Send a request and return the first answer to it."""
        self.begin(frame, deadline)
        return self.hear(limit, deadline)

    def begin(self, frame: Frame, deadline: float) -> None:
        """Send a request."""
        self.sequence += 1
        self.send(frame, deadline)

    def send(self, frame: Frame, deadline: float) -> None:
        """Send what belongs to the request at hand."""
        numbered = Frame(frame.kind, self.sequence, frame.fields, frame.arrays)
        try:
            self.channel.send(numbered, deadline)
        except (EOFError, TimeLimitError) as error:
            raise self.ended(error) from None

    def hear(self, limit: int, deadline: float) -> Frame:
        """The next answer to the request at hand."""
        try:
            frame = self.channel.receive(limit, deadline)
        except (EOFError, TimeLimitError, ProtocolError) as error:
            raise self.ended(error) from None
        if frame.sequence != self.sequence:
            told = f"frame: answers request {frame.sequence}, not {self.sequence}"
            raise self.ended(ProtocolError(told))
        return frame

    def ended(self, error: Exception) -> MetabenchError:
        """Kill what is left of it; the error that says how it came to that."""
        if isinstance(error, EOFError):
            # The channel may close a moment before the process is seen to end.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1.0)
        code = self.process.poll()
        self.kill()
        if isinstance(error, EOFError):
            return SubmissionError(self.why or f"its process ended: {_told(code)}{self._said()}")
        if isinstance(error, TimeLimitError):
            return TimeLimitError(f"no answer within {self.limits.call_seconds:g} s{self._said()}")
        return SubmissionError(f"{error}{self._said()}")

    def kill(self) -> None:
        """The process and all it started. Twice does no harm."""
        if self.killed:
            return
        self.killed = True
        self.channel.close()
        self._signal()
        self.process.wait()
        self.watcher.join(1.0)
        self.scratch.cleanup()

    def _said(self) -> str:
        text = " ".join(self.tail.decode("utf-8", "replace").split())[-300:]
        return f"; it last printed: {text}" if text else ""

    def _watch(self) -> None:
        """Drain what it prints and hold it to the limits that the kernel holds no group to."""
        pipe: IO[bytes] | None = self.process.stdout
        assert pipe is not None
        looked = 0.0
        while True:
            ready, _, _ = select.select([pipe], [], [], LOOK_SECONDS)
            if ready:
                read = os.read(pipe.fileno(), 65536)
                if not read:
                    break
                self.printed += len(read)
                self.tail = (self.tail + read)[-TAIL:]
                if self.printed > self.limits.output:
                    self._stop(f"printed more than {self.limits.output} bytes")
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                count, resident = usage(self.process.pid)
                if count > self.limits.processes:
                    self._stop(f"started more than {self.limits.processes} processes")
                if resident > self.limits.resident:
                    self._stop(f"used more than {self.limits.resident} bytes of memory")
            if self.process.poll() is not None and not ready:
                break
        pipe.close()

    def _stop(self, why: str) -> None:
        self.why = self.why or f"killed: it {why}"
        self._signal()

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


def _told(code: int | None) -> str:
    if code is None:
        return "it closed the channel"
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(number).name}"
    return f"exit code {code}"


def usage(root: int) -> tuple[int, int]:
    """How many processes there are from this one down, and their memory in bytes."""
    count, pages = 0, 0
    for pid in descendants(root):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, ValueError):
            continue
        count += 1
    return count, pages * os.sysconf("SC_PAGE_SIZE")


def descendants(root: int) -> list[int]:
    """The process, its children, theirs; none where the system does not tell."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, thread.joinpath("children").read_text().split())
        except (OSError, ValueError):
            continue
        found.append(pid)
    return found
