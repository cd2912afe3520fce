"""Timing two programs side by side: alternating rounds, and what else the machine was doing."""

from __future__ import annotations

import ctypes
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

SHORTEST = 0.05
"""Seconds that one timed sample lasts at least: the step is repeated until it does."""
LONGEST = 12.0
"""Seconds that a row's rounds last in all, where fewer rounds suffice."""
FEWEST = 3
"""Rounds at least."""
BUSY = 0.2
"""Share of a core above which another process counts as busy."""
SAME = 1e-7
"""Largest difference in float64, relative to the largest entry, that passes for the same work."""
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
"""From glibc's malloc.h."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    """How to measure. ``threads`` are the settings tried; each side keeps its best."""

    device: torch.device
    threads: tuple[int, ...] = (1,)
    rounds: int = 9
    episodes: int = 1000
    all_rounds: bool = False
    """Whether a slow row takes all its rounds."""


@dataclass(frozen=True)
class Side:
    """One program: ``make`` builds it afresh and returns the step; ``work`` is tasks a step."""

    name: str
    make: Callable[[], Step]
    work: int


class Row(BaseModel):
    """One line of the table: a peer beside metabench on identical work."""

    model_config = ConfigDict(extra="forbid")

    workload: str
    work: str
    peer: str
    ours: str
    """The learner or function of metabench, and its options."""
    unit: str = "tasks/s"
    peer_rate: float | None = None
    """None: the peer is not installed."""
    our_rate: float | None = None
    ratio: float | None = None
    """Median over the rounds of (peer's time / our time)."""
    quartiles: tuple[float, float] | None = None
    """Of the same."""
    rounds: int = 0
    threads: tuple[int, int] = (1, 1)
    """The peer's and ours: each side's best of those tried."""
    first_call: float | None = None
    """Seconds of our first step, compilation included."""
    difference: float | None = None
    """Largest difference in float64 relative to the largest entry, of what ``agreement`` names."""
    agreement: str = ""

    @property
    def same(self) -> bool:
        """False if the two sides were found to compute different things."""
        return self.difference is None or self.difference <= SAME


def compare(row: Row, peer: Side | None, ours: Side, settings: Settings) -> Row:
    """The row with rates and ratio filled in; only our rate where there is no peer."""
    contenders: list[tuple[Side, int, Step, int, float]] = []
    a_round = 0.0
    for side in ([] if peer is None else [peer]) + [ours]:
        for threads in settings.threads:
            torch.set_num_threads(threads)
            step = side.make()
            first = seconds(step, settings.device)
            warm = seconds(step, settings.device)
            repeats = max(1, math.ceil(SHORTEST / warm))
            a_round += warm * repeats
            contenders.append((side, threads, step, repeats, first))

    rounds = settings.rounds
    if not settings.all_rounds:
        rounds = min(rounds, max(FEWEST, round(LONGEST / a_round)))
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for (_, threads, step, repeats, _), samples in zip(contenders, times, strict=True):
            torch.set_num_threads(threads)
            samples.append(seconds(step, settings.device, repeats))
    torch.set_num_threads(settings.threads[0])

    def best(side: Side) -> int:
        own = [i for i, contender in enumerate(contenders) if contender[0] is side]
        return min(own, key=lambda i: statistics.median(times[i]))

    mine = best(ours)
    row = row.model_copy(
        update={
            "our_rate": ours.work / statistics.median(times[mine]),
            "first_call": contenders[mine][4],
            "rounds": rounds,
        }
    )
    if peer is None:
        return row
    theirs = best(peer)
    # Both sides' rates are per task, and a round's two samples stand next to each other in time.
    ratios = [
        (a / peer.work) / (b / ours.work) for a, b in zip(times[theirs], times[mine], strict=True)
    ]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return row.model_copy(
        update={
            "peer_rate": peer.work / statistics.median(times[theirs]),
            "ratio": middle,
            "quartiles": (low, high),
            "threads": (contenders[theirs][1], contenders[mine][1]),
        }
    )


def seconds(step: Step, device: torch.device, repeats: int = 1) -> float:
    """Wall-clock seconds of one step, mean of ``repeats``, the device's queue drained."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    synchronise(device)
    return (time.perf_counter() - start) / repeats


def synchronise(device: torch.device) -> None:
    """Wait for what the device has been given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tune_allocator() -> bool:
    """Keep freed memory in this process, for both sides; False where it can't be done.

    Large tensors are else mapped anew at every allocation, and page faults cost as much as the
    arithmetic.
    """
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 256 * 2**20))
    return all(set_allocator(option, value) for option, value in wanted)


def set_allocator(option: int, value: int) -> bool:
    """glibc's mallopt; False where it can't be done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(option, value) == 1


class Load(BaseModel):
    """What else ran when the measurement began."""

    model_config = ConfigDict(extra="forbid")

    average: tuple[float, float, float]
    cores: int
    busy: tuple[str, ...] = ()
    """Other processes that used more than a fifth of a core: name and share."""

    @property
    def quiet(self) -> bool:
        """Whether this process has the machine for itself."""
        return not self.busy and self.average[0] < 0.5


def load(window: float = 1.0) -> Load:
    """Load average and busy processes, watched for ``window`` seconds (processes: Linux only)."""
    before = _ticks()
    time.sleep(window)
    after = _ticks()
    per_second = os.sysconf("SC_CLK_TCK") * window
    shares = [
        (name, (spent - before[pid][1]) / per_second)
        for pid, (name, spent) in after.items()
        if pid in before and pid != os.getpid()
    ]
    busy = sorted(((n, s) for n, s in shares if s > BUSY), key=lambda pair: -pair[1])
    return Load(
        average=os.getloadavg(),
        cores=os.cpu_count() or 1,
        busy=tuple(f"{name} {share:.0%}" for name, share in busy),
    )


def _ticks() -> dict[int, tuple[str, int]]:
    """Process -> (name, clock ticks used)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:
            continue
        fields = tail.split()
        found[int(path.parent.name)] = (head.partition("(")[2], int(fields[11]) + int(fields[12]))
    return found


def largest_difference(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Largest absolute difference of the pairs over the largest absolute entry of the seconds."""
    scale = max(float(b.abs().max()) for _, b in pairs)
    return max(float((a - b).abs().max()) for a, b in pairs) / scale
