"""A function of one task as a function of a batch of them, run task by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import torch
from torch.utils import _pytree as pytree


def looped(one: Callable[..., Any], *, alone: bool = False) -> Callable[..., Any]:
    """Like ``vmap``: every tensor among the arguments is split along its first axis.

    Tasks run side by side, as many as torch has threads, each computing on one thread; ``alone``
    runs one at a time. The bits do not depend on how many there are, a batch of one task excepted.
    """

    def all_tasks(*arguments: Any) -> Any:
        leaves, spec = pytree.tree_flatten(arguments)

        def flat(task: Sequence[Any]) -> tuple[list[Any], Any]:
            return pytree.tree_flatten(one(*pytree.tree_unflatten(list(task), spec)))

        tasks = list(zip(*(leaf.unbind(0) for leaf in leaves), strict=True))
        results = side_by_side(flat, tasks, alone=alone)
        stacked = [torch.stack(column) for column in zip(*(r[0] for r in results), strict=True)]
        return pytree.tree_unflatten(stacked, results[0][1])

    return all_tasks


def side_by_side(run: Callable[[Any], Any], tasks: Sequence[Any], *, alone: bool) -> list[Any]:
    """``run`` of each task, in the order of the tasks; raises what one of them raised.

    The calling thread takes its share of the tasks, so that a nested call finds one thread and
    starts no further ones.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(tasks) == 1:
        return [run(task) for task in tasks]
    recording = torch.is_grad_enabled()
    results: list[Any] = [None] * len(tasks)
    coming = iter(range(len(tasks)))
    stopped = Event()

    def work() -> None:
        with torch.set_grad_enabled(recording):  # every thread has its own setting
            for i in coming:
                if stopped.is_set():
                    return
                results[i] = run(tasks[i])

    helpers = 0 if alone else min(threads, len(tasks)) - 1
    torch.set_num_threads(1)  # threads that start from here on inherit it
    try:
        with ThreadPoolExecutor(max(1, helpers)) as pool:
            try:
                others = [pool.submit(work) for _ in range(helpers)]
                work()
                for other in others:
                    other.result()
            except BaseException:
                stopped.set()
                raise
    finally:
        torch.set_num_threads(threads)
    return results
