"""Progress of a run: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from metabench.records import Record
from metabench.running.cell import Event
from metabench.running.local import Watcher
from metabench.running.plan import Cell

PLAIN_SECONDS = 15.0


class TimeLeft:
    """How long the rest will take, from cells of the same learner and source already finished.

    A kind of cell that has not been seen to its end has no estimate: what is known of the others
    is then a lower bound, and is called one.
    """

    def __init__(self) -> None:
        self.remaining: dict[str, Cell] = {}
        self.began: dict[str, float] = {}
        self.seen: dict[tuple[str, ...], list[float]] = {}
        self.phase_left: dict[str, float] = {}
        """Seconds that the phase of a running cell still needs, by its own rate."""
        self.workers = 1

    def kind(self, cell: Cell) -> tuple[str, ...]:
        """Cells of one kind take about as long."""
        return (cell.key.learner, cell.key.suite, cell.key.source)

    def seconds(self) -> tuple[float, bool]:
        """Seconds left, and whether that is only a lower bound."""
        total, longest, bound = 0.0, 0.0, False
        now = time.monotonic()
        for cell in self.remaining.values():
            seen = self.seen.get(self.kind(cell))
            spent = now - self.began.get(cell.id, now)
            left = self.phase_left.get(cell.id, 0.0)
            if seen:
                left = max(left, sum(seen) / len(seen) - spent)
            bound |= not seen
            total, longest = total + left, max(longest, left)
        return max(total / self.workers, longest), bound

    def text(self) -> str:
        """In words; nothing while nothing is known."""
        seconds, bound = self.seconds()
        if bound:
            return f"at least {in_words(seconds)} left" if seconds >= 1 else ""
        return f"about {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """Seconds as text."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class ProgressWatcher(Watcher):
    """Draws bars when the console is a terminal, prints lines when it is not."""

    def __init__(self, console: Console, bars: Progress | None) -> None:
        self.console, self.bars = console, bars
        self.time_left = TimeLeft()
        self.titles: dict[str, str] = {}
        self.tasks: dict[str, TaskID] = {}
        self.printed: dict[str, float] = {}
        self.overall: TaskID | None = None
        self.done = self.total = 0
        self.started_at: dict[tuple[str, str], tuple[float, int, int]] = {}

    def planned(self, cells: int, waiting: Sequence[Cell], workers: int) -> None:
        """Say how much there is to do."""
        self.total, self.done = cells, cells - len(waiting)
        self.time_left.remaining = {c.id: c for c in waiting}
        self.time_left.workers = max(1, workers)
        kept = f", {self.done} already finished" if self.done else ""
        self.console.print(f"{cells} cells{kept}; {max(1, workers)} at a time")
        if self.bars:
            self.overall = self.bars.add_task(
                "all cells", total=cells, completed=self.done, phase=""
            )

    def started(self, cell: Cell) -> None:
        """A cell begins."""
        self.titles[cell.id] = cell.title
        self.time_left.began[cell.id] = time.monotonic()
        if self.bars:
            self.tasks[cell.id] = self.bars.add_task(escape(cell.title), total=None, phase="")

    def event(self, event: Event) -> None:
        """A cell has got on."""
        if event.cell not in self.time_left.remaining:
            return
        key = (event.cell, event.phase)
        now = time.monotonic()
        seen = self.started_at.setdefault(key, (now, event.done, event.tasks))
        began, first, first_tasks = seen
        rate = (event.done - first) / (now - began) if now > began else 0.0
        left = f"{in_words((event.total - event.done) / rate)} left" if rate else ""
        if rate:
            self.time_left.phase_left[event.cell] = (event.total - event.done) / rate
        loss = "" if event.loss is None else f" loss {event.loss:.3f}"
        unit = "steps" if event.phase == "training" else "episodes"
        speed = f"{rate:,.{0 if rate >= 10 else 1}f} {unit}/s" if rate else ""
        if rate and event.tasks > first_tasks:
            speed += f", {(event.tasks - first_tasks) / (now - began):,.0f} tasks/s"
        if self.bars:
            self.bars.update(
                self.tasks[event.cell],
                total=event.total,
                completed=event.done,
                phase=f"{event.phase}{loss}  {speed}  {left}",
            )
        elif now - self.printed.get(event.cell, self.time_left.began[event.cell]) > PLAIN_SECONDS:
            self.printed[event.cell] = now
            done = f"{event.phase} {event.done}/{event.total} {unit}{loss}"
            known = ", ".join(part for part in (done, speed, left) if part)
            text = f"{self.titles[event.cell]}: {known}"
            self.console.print(escape(text), soft_wrap=True)

    def finished(self, cell: Cell, record: Record) -> None:
        """A cell has its record."""
        self.done += 1
        spent = time.monotonic() - self.time_left.began[cell.id]
        self.time_left.remaining.pop(cell.id, None)
        self.time_left.phase_left.pop(cell.id, None)
        self.time_left.seen.setdefault(self.time_left.kind(cell), []).append(spent)
        state = "done" if record.status == "ok" else f"{record.status}: {record.error}"
        text = f"[{self.done}/{self.total}] {cell.title}: {state} in {spent:.0f} s"
        left = self.time_left.text() if self.done < self.total else ""
        if self.bars and self.overall is not None:
            self.bars.remove_task(self.tasks.pop(cell.id))
            self.bars.update(self.overall, completed=self.done, phase=left)
            self.console.print(escape(text), soft_wrap=True, highlight=False)
        else:
            line = f"{text}; {left}" if left else text
            self.console.print(escape(line), soft_wrap=True, highlight=False)


@contextmanager
def progress() -> Iterator[tuple[Console, Watcher]]:
    """A console and a watcher that draws on it."""
    console = Console()
    if not console.is_terminal:
        # A log has no width of its own, and a table must not be cut to 80 columns.
        console = Console(width=160)
        yield console, ProgressWatcher(console, None)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[phase]}"),
        console=console,
    ) as bars:
        yield console, ProgressWatcher(console, bars)
