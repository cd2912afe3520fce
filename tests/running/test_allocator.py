"""Workers keep the memory they free."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from metabench.running.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("another C library")
for _ in range(10):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    """Of twenty tensors of 64 MiB, one after the other."""
    command = [sys.executable, "-c", CODE, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stderr.startswith("another"):
        pytest.skip("another C library")
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="an option of glibc")
def test_a_large_tensor_allocated_again_and_again_is_not_mapped_again_and_again() -> None:
    # A small allocation may land where the last tensor was and cost one move of 64 MiB or two.
    assert page_faults("kept") <= page_faults("default") / 4
