"""Where a run takes place, as its records say."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

import metabench
from metabench.records import Environment


def describe(device: torch.device) -> Environment:
    """Versions, the device's name, and the commit if metabench runs from a checkout."""
    commit, dirty = _commit()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return Environment(
        metabench=metabench.__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        platform=platform.platform(),
        device=f"{device.type} ({name})",
        threads=1,
        commit=commit,
        dirty=dirty,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> tuple[str | None, bool | None]:
    root = Path(metabench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        outputs = [
            subprocess.run(
                ["git", "-C", str(root), *arguments],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None, None
    return outputs[0], bool(outputs[1])
