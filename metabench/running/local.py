"""Execution on this machine: in this process, or each cell in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from metabench.records import Record
from metabench.running.allocator import keep_freed_memory
from metabench.running.cell import Event, Settings, new_record, one_thread, run_cell
from metabench.running.plan import Cell
from metabench.store import Store
from metabench.tasks.cache import set_data_root

GRACE_SECONDS = 30.0
"""How long past its limit a cell may take to stop by itself before its process is killed."""


class Watcher:
    """Is told what happens; the base class ignores it."""

    def planned(self, cells: int, waiting: Sequence[Cell], workers: int) -> None:
        """``cells`` in all; these are left to run."""

    def started(self, cell: Cell) -> None:
        """A cell begins."""

    def event(self, event: Event) -> None:
        """A cell has got on."""

    def finished(self, cell: Cell, record: Record) -> None:
        """A cell has its record."""


def run_here(
    cells: Sequence[Cell], store: Store, settings: Settings, watcher: Watcher
) -> list[Record]:
    """One after the other, in this process."""
    records = []
    with one_thread():
        for cell in cells:
            watcher.started(cell)
            record = run_cell(cell, store, settings, watcher.event)
            watcher.finished(cell, record)
            records.append(record)
    return records


def run_in_processes(
    cells: Sequence[Cell],
    store: Store,
    settings: Settings,
    watcher: Watcher,
    workers: int,
) -> list[Record]:
    """Each cell in a fresh process, ``workers`` at a time.

    A cell that crashes its interpreter or does not stop at its time limit costs its own record
    and no other. Workers end with this process, even if it is killed.
    """
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["metabench.running.local", "metabench.learners"])
    events: Any = context.Queue()
    waiting = list(cells)
    running: dict[str, tuple[Cell, BaseProcess, float]] = {}
    records: list[Record] = []

    def finish(cell: Cell, process: BaseProcess, problem: str | None) -> None:
        if store.has(cell.id):
            record = store.read(cell.id)
        elif problem is not None:
            record = store.write(new_record(cell, settings, "timeout", problem), None)
        else:
            why = f"the worker process ended with code {process.exitcode}"
            record = store.write(new_record(cell, settings, "failed", why), None)
        records.append(record)
        watcher.finished(cell, record)

    try:
        while waiting or running:
            while len(running) < workers and (ready := _next(waiting, running)) is not None:
                cell = waiting.pop(ready)
                process = context.Process(
                    target=_work, args=(cell, str(store.root), settings, events), daemon=True
                )
                watcher.started(cell)
                limit = cell.suite.get_preset(cell.key.preset).budget.seconds + GRACE_SECONDS
                with _without_interrupts():
                    process.start()
                    running[cell.id] = (cell, process, time.monotonic() + limit)
            _drain(events, watcher, 0.1)
            for cell_id, (cell, process, deadline) in list(running.items()):
                late = time.monotonic() > deadline
                if late:
                    process.kill()
                    process.join()
                if not process.is_alive():
                    process.join()
                    del running[cell_id]
                    limit = cell.suite.get_preset(cell.key.preset).budget.seconds
                    problem = f"killed: it did not stop at its limit of {limit:g} s"
                    finish(cell, process, problem if late else None)
    finally:
        for _, process, _ in running.values():
            process.kill()
            process.join()
    return records


def _next(
    waiting: Sequence[Cell], running: Mapping[str, tuple[Cell, BaseProcess, float]]
) -> int | None:
    """The first cell whose meta-training is not under way elsewhere: it is to be done once."""
    under_way = {cell.training for cell, _, _ in running.values()}
    return next((i for i, c in enumerate(waiting) if c.training not in under_way), None)


def _drain(events: Any, watcher: Watcher, wait: float) -> None:
    """Pass on what the workers have reported, waiting for the first of it."""
    try:
        while True:
            watcher.event(events.get(timeout=wait))
            wait = 0.0
    except queue.Empty:
        pass


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Put Ctrl-C off: a process that is started but not yet noted could not be ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            raise KeyboardInterrupt


def _work(cell: Cell, out: str, settings: Settings, events: Any) -> None:
    """The body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; it kills on Ctrl-C
    _end_with_parent()
    keep_freed_memory()
    events.cancel_join_thread()  # progress may be lost; a crashed neighbour must not hold us up
    if settings.data_root is not None:
        set_data_root(settings.data_root)
    last = 0.0

    def report(event: Event) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.2 or event.done == event.total:
            last = now
            events.put(event)

    with one_thread():
        run_cell(cell, Store(out), settings, report)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
