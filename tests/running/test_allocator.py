"""Workers keep the memory they free."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, torch
from metabench.running.allocator import keep_freed_memory
kept = keep_freed_memory()
torch.set_num_threads(1)
for _ in range(10):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="an option of glibc")
def test_a_large_tensor_allocated_again_and_again_costs_no_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    if kept == "False":
        pytest.skip("another C library")
    # 64 MiB in pages of 4 KiB, twenty times over, would be 327,680 (640 with huge pages).
    assert int(faults) < 100
