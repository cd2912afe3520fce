"""The C allocator of a worker process."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Options of mallopt(3) in glibc."""


def keep_freed_memory() -> bool:
    """Hand freed memory to the next tensor instead of back to the system.

    A training step allocates the same tensors again and again; by default the large ones are
    mapped and unmapped every time, and the page faults cost as much as the arithmetic. Only glibc
    has these options: returns whether they were set. Changes no number.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * 2**20}
    return all(mallopt(option, value) == 1 for option, value in wanted.items())
