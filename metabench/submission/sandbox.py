"""The command line that starts a worker: in bubblewrap on Linux, else as an ordinary process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import metabench
from metabench.errors import MetabenchError
from metabench.submission.folder import unhashed
from metabench.submission.limits import MIB, Limits

Choice = Literal["auto", "sandbox", "process"]
Isolation = Literal["process", "sandbox"]

TRUSTED = "/metabench"
"""Where the sandbox has this package, and nothing beside it."""
FOLDER = "/submission"
SCRATCH = "/tmp/scratch"
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "USER": "nobody",
    "LOGNAME": "nobody",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
}
"""All that the worker is told; threads and hashes, so that it computes the same bits."""
BODY = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from metabench.submission.worker import main; main(int(sys.argv[2]), sys.argv[3])"
)
"""Run in isolated mode: no variable, user site or working folder adds to the path."""


def choose(wanted: Choice) -> Isolation:
    """The isolation there will be; MetabenchError where ``sandbox`` can't be had."""
    if wanted == "process":
        return "process"
    lacking = unavailable()
    if wanted == "sandbox" and lacking:
        raise MetabenchError(f"isolation 'sandbox': {lacking}. Allowed here: process.")
    return "process" if lacking else "sandbox"


@cache
def unavailable() -> str:
    """Why there is no sandbox here; nothing if there is."""
    if not sys.platform.startswith("linux"):
        return f"bubblewrap needs Linux, found {sys.platform}"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    with (
        tempfile.TemporaryDirectory() as folder,
        boxed(confined(Path(folder), Limits())) as (words, view),
    ):
        tried = subprocess.run(
            [*words, sys.executable, "-I", "-c", ""],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            pass_fds=(view,),
        )
    if tried.returncode:
        said = " ".join(tried.stderr.split())[:200]
        return f"the kernel lets bubblewrap make no namespaces here ({said})"
    return ""


@contextmanager
def command(
    isolation: Isolation, folder: Path, limits: Limits, fd: int, settings: str
) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """The worker's command and the descriptors it inherits, the open socket ``fd`` among them."""
    python = [sys.executable, "-I", "-c", BODY]
    if isolation == "process":
        yield [*python, str(Path(metabench.__file__).parents[1]), str(fd), settings], (fd,)
        return
    with boxed(confined(folder, limits)) as (words, view):
        yield [*words, *python, TRUSTED, str(fd), settings], (fd, view)


@contextmanager
def boxed(options: Sequence[str]) -> Iterator[tuple[list[str], int]]:
    """bubblewrap with these options, read from a descriptor: a command line could be seen."""
    with tempfile.TemporaryFile() as file:
        file.write("\0".join(options).encode() + b"\0")
        file.seek(0)
        yield [str(shutil.which("bwrap")), "--args", str(file.fileno()), "--"], file.fileno()


def confined(folder: Path, limits: Limits) -> list[str]:
    """The options of bubblewrap: namespaces of its own, a read-only view of what Python needs."""
    package = Path(metabench.__file__).parent
    view = [
        *("--ro-bind", "/usr", "/usr"),
        *_system(),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(limits.scratch), "--tmpfs", "/tmp"),
        *(word for path in _python() for word in ("--ro-bind", path, path)),
        *("--ro-bind", str(package), f"{TRUSTED}/metabench"),
        *("--ro-bind", str(folder.resolve()), FOLDER),
        *(word for path in unhashed(folder) for word in ("--tmpfs", f"{FOLDER}/{path}")),
        *("--dir", SCRATCH),
        *("--size", str(min(limits.scratch, 64 * MIB)), "--tmpfs", "/dev/shm"),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
    ]
    variables = {**ENVIRONMENT, "HOME": SCRATCH, "TMPDIR": SCRATCH}
    return [
        *("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"),
        "--as-pid-1",
        *_no_further_namespaces(),
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--hostname", "sandbox"),
        "--clearenv",
        *(word for name, value in variables.items() for word in ("--setenv", name, value)),
        *view,
        *("--chdir", SCRATCH),
    ]


@cache
def _no_further_namespaces() -> tuple[str, ...]:
    """From bubblewrap 0.8 on: what is in the box can't become root of a box of its own."""
    told = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False)
    return ("--disable-userns",) if "--disable-userns" in told.stdout + told.stderr else ()


def _system() -> Iterator[str]:
    """The folders that are links into /usr on merged systems, and a few files of /etc."""
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for name in ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def _python() -> Sequence[str]:
    """The interpreter's folders that are not in /usr; never one that holds a home or the root."""
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.prefix).resolve()}
    prefixes.add(Path(sys.executable).resolve().parents[1])
    prefixes = {path for path in prefixes if not path.is_relative_to("/usr")}
    for path in prefixes:
        if Path.home().is_relative_to(path) or path == Path("/tmp"):
            raise MetabenchError(
                f"isolation 'sandbox': Python's folder {path} holds more than Python; "
                "install metabench in a virtual environment"
            )
    return sorted(str(path) for path in prefixes)
