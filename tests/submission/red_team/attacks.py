"""Submissions that cheat. Each is a ``learner.py`` behind ``scene.HEADER``.

An attack that gets hold of something raises ``Loot``, or predicts the labels that it found; where
it fails it ties all classes, which scores chance exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Attack:
    """``ends``: what the error says; None: it scores chance."""

    source: str
    ends: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


LOOT = """
class Loot(Exception):
    pass

"""

WALK = """
import gc
import sys

def labels_in(objects, shape):
    for found in objects:
        if isinstance(found, torch.Tensor) and found.shape == shape and found.dtype == torch.int64:
            return found

def searched(query, skip, frames):
    for frame in frames:
        while frame is not None:
            found = labels_in(
                [v for k, o in frame.f_locals.items() for v in (o, getattr(o, "query_y", None))],
                query.mask.shape,
            )
            if found is not None:
                return found
            frame = frame.f_back
"""

FRAMES = (
    WALK
    + """
class Learner(Base):
    def predict(self, state, query):
        found = searched(query, self, list(sys._current_frames().values()))
        if found is None:
            return super().predict(state, query)
        return self.told(found, query, int(state.way.max()))
"""
)

GARBAGE = (
    WALK
    + """
class Learner(Base):
    def predict(self, state, query):
        found = labels_in(gc.get_objects(), query.mask.shape)
        if found is None:
            held = [o.query_y for o in gc.get_objects() if type(o).__name__ == "Episodes"]
            found = labels_in(held, query.mask.shape)
        if found is None:
            return super().predict(state, query)
        return self.told(found, query, int(state.way.max()))
"""
)

PROC = """
import os

class Learner(Base):
    def predict(self, state, query):
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            for file in ("cmdline", "environ", "maps", "mem"):
                try:
                    with open(f"/proc/{name}/{file}", "rb") as opened:
                        text = opened.read(65536) if file != "mem" else b""
                except OSError:
                    continue
                if b"pytest" in text or b"CANARY" in text:
                    raise Loot(name, file)
            try:
                found = os.listdir(f"/proc/{name}/root/CANARY_FOLDER")
            except OSError:
                continue
            raise Loot(found)
        return super().predict(state, query)
"""

DISK = """
import os

class Learner(Base):
    def predict(self, state, query):
        for name in ("CANARY_FOLDER", "CANARY_FOLDER/record.json", "CANARY_FOLDER/salt"):
            if os.path.exists(name):
                raise Loot(name)
        if os.listdir():
            raise Loot(os.getcwd())
        for top, folders, files in os.walk("/"):
            if top.startswith(("/proc", "/usr")):
                folders.clear()
            if "salt" in files or "record.json" in files:
                raise Loot(top)
        for name in ("/root/.ssh", "/root/.bashrc", "/home", "/var", "/etc/passwd", "/work"):
            if os.path.exists(name):
                raise Loot(name)
        return super().predict(state, query)
"""

MONKEY = """
import time
import numpy

import metabench.scoring

numpy.mean = numpy.argmax = lambda *a, **k: 1.0
torch.Tensor.mean = torch.Tensor.sum = torch.Tensor.gather = lambda *a, **k: torch.tensor(1.0)
time.time = time.monotonic = lambda: 0.0
metabench.scoring.score = lambda *a, **k: torch.ones(16)

class Learner(Base):
    pass
"""

BUILTINS = """
import builtins

builtins.sum = builtins.len = lambda *a: 1

class Learner(Base):
    pass
"""

SEEDS = """
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters

class Learner(Base):
    def predict(self, state, query):
        count = len(query.x)
        for seed in range(64):
            address = Address.of("secret", seed)
            for start in (0, 16):
                episodes = sample(
                    Clusters(), Shape(way=5, shot=1, query=5), address, range(start, start + count)
                )
                if torch.equal(episodes.support.x, state.x):
                    labels = episodes.query_y[:, : query.x.shape[1]]
                    return self.told(labels, query, 5)
        return super().predict(state, query)
"""

CACHE = """
class Learner(Base):
    seen = {}

    def adapt(self, support):
        return support

    def predict(self, state, query):
        # Nearest support item; what was said of a query once is said again.
        distance = torch.cdist(query.x, state.x)
        labels = state.y.gather(1, distance.argmin(-1))
        rows = []
        for t in range(len(query.x)):
            key = [x.numpy().tobytes() for x in query.x[t]]
            rows.append([self.seen.setdefault(k, int(y)) for k, y in zip(key, labels[t])])
        return self.told(rows, query, 5)
"""

POSITION = """
class Learner(Base):
    def predict(self, state, query):
        count = query.x.shape[1]
        labels = torch.arange(count).mul(5).div(count, rounding_mode="floor")
        return self.told(labels.expand(len(query.x), -1), query, 5)
"""

SLOT = """
class Learner(Base):
    def predict(self, state, query):
        return Prediction(torch.arange(5.0).flip(0).expand(*query.x.shape[:2], 5))
"""

BATCH = """
class Learner(Base):
    def predict(self, state, query):
        x = query.x - query.x.mean(dim=1, keepdim=True)
        return Prediction(x[..., :5])
"""

LATER = """
class Learner(Base):
    calls = 0

    def predict(self, state, query):
        # As it should be while it is looked at, then with the statistics of the batch.
        self.calls += 1
        x = query.x
        if self.calls > 3:
            x = x - x.mean(dim=1, keepdim=True)
        return Prediction(x[..., :5])
"""

NETWORK = """
import socket

class Learner(Base):
    def predict(self, state, query):
        for where in (("127.0.0.1", CANARY_PORT), ("1.1.1.1", 53), ("8.8.8.8", 80)):
            try:
                socket.create_connection(where, 0.2).close()
            except OSError:
                continue
            raise Loot(where)
        try:
            end = socket.socket(socket.AF_UNIX)
            end.connect(chr(0) + "CANARY_SOCKET")
        except OSError:
            return super().predict(state, query)
        raise Loot("abstract socket")
"""

FORKS = """
import os

class Learner(Base):
    def predict(self, state, query):
        while True:
            try:
                os.fork()
            except OSError:
                pass
"""

MEMORY = """
class Learner(Base):
    def predict(self, state, query):
        held = []
        while True:
            held.append(torch.ones(2**24))
"""

CHILDREN = """
import os
import time

class Learner(Base):
    def predict(self, state, query):
        for _ in range(4):
            if os.fork() == 0:
                held = torch.ones(2**26)
                time.sleep(60)
        time.sleep(60)
"""

SCRATCH = """
import os

class Learner(Base):
    def predict(self, state, query):
        written = 0
        for folder in ("/tmp", "/dev/shm", "/dev", "/", "/submission"):
            try:
                for i in range(64):
                    with open(os.path.join(folder, f"filler{i}"), "wb") as file:
                        written += file.write(bytes(2**20))
            except OSError:
                continue
        if written > 32 * 2**20:
            raise Loot(written)
        return super().predict(state, query)
"""

ZIP = """
import io
import zipfile

class Learner(Base):
    def predict(self, state, query):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("bomb", "w", force_zip64=True) as file:
                for _ in range(64):
                    file.write(bytes(2**20))
        zipfile.ZipFile(buffer).extractall()
"""

OUTPUT = """
import sys

class Learner(Base):
    def predict(self, state, query):
        while True:
            sys.stdout.write("all work and no play " * 1000)
            sys.stderr.write("makes Jack a dull boy " * 1000)
"""

CHANNEL = """
import gc
import socket

def channel():
    return next(o for o in gc.get_objects() if isinstance(o, socket.socket) and o.fileno() > 2)

"""

HUGE_FRAME = (
    CHANNEL
    + """
import struct

class Learner(Base):
    def predict(self, state, query):
        channel().sendall(struct.pack("<4sHHIIQ", b"MBWP", 1, 64, 1, 2**20, 2**62))
        channel().sendall(bytes(2**16))
"""
)

ENDLESS_FRAMES = (
    CHANNEL
    + """
import struct

class Learner(Base):
    def predict(self, state, query):
        frame = struct.pack("<4sHHIIQ", b"MBWP", 1, 67, 1, 2, 0) + b"{}"
        while True:
            channel().sendall(frame * 100)
"""
)

PICKLE = (
    CHANNEL
    + """
import pickle

class Bomb:
    def __reduce__(self):
        return (exec, ("import os; os.abort()",))

class Learner(Base):
    def predict(self, state, query):
        channel().sendall(pickle.dumps(Bomb()) * 10)
"""
)

SIGNALS = """
import os
import signal

class Learner(Base):
    def predict(self, state, query):
        for pid in (os.getppid(), CANARY_PID, -1):
            for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
                try:
                    if pid > 1 or pid == -1:
                        os.kill(pid, number)
                except OSError:
                    pass
        return super().predict(state, query)
"""

WEIGHTS = """
import os
from safetensors.torch import load_file

class Learner(Base):
    def setup(self, info, seed, device):
        load_file(os.path.join(os.path.dirname(__file__), "weights.safetensors"))
"""

SHADOW = """
import json
import numpy
import metabench.scoring

class Learner(Base):
    def setup(self, info, seed, device):
        for module in (json, numpy, torch, metabench.scoring):
            if "/submission" in module.__file__:
                raise Loot(module)
"""

ENVIRONMENT = """
import os

class Learner(Base):
    def predict(self, state, query):
        if any("CANARY" in text for item in os.environ.items() for text in item):
            raise Loot("environment")
        return super().predict(state, query)
"""

PACKAGE = """
import os
import numpy
import metabench
import metabench.scoring

class Learner(Base):
    def predict(self, state, query):
        for module in (metabench, metabench.scoring, torch, numpy, os):
            folder = os.path.dirname(module.__file__)
            names = (module.__file__, os.path.join(folder, "new.py"), f"{folder}/__pycache__/x.pyc")
            for name in (*names, __file__):
                try:
                    with open(name, "a") as file:
                        file.write("# mine")
                except OSError:
                    continue
                raise Loot(name)
        return super().predict(state, query)
"""

ESCAPE = """
import ctypes
import os
import resource

class Learner(Base):
    def predict(self, state, query):
        libc = ctypes.CDLL(None, use_errno=True)
        for flags in (0x10000000, 0x00020000, 0x10000000 | 0x00020000 | 0x40000000):
            if libc.unshare(flags) == 0:
                raise Loot("unshare", flags)
        if libc.mount(None, b"/", None, 32 | 4096, None) == 0:
            raise Loot("mount")
        if libc.ptrace(16, os.getppid(), None, None) == 0:
            raise Loot("ptrace")
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
            try:
                resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            except (OSError, ValueError):
                continue
            raise Loot("rlimit")
        if os.setresuid and os.getuid() == 0:
            raise Loot("root")
        return super().predict(state, query)
"""

DESCRIPTORS = """
import os
import stat

class Learner(Base):
    def predict(self, state, query):
        sockets = 0
        for name in os.listdir("/proc/self/fd"):
            try:
                mode = os.fstat(int(name)).st_mode
                link = os.readlink(f"/proc/self/fd/{name}")
            except OSError:
                continue
            sockets += stat.S_ISSOCK(mode)
            if int(name) > 2 and not stat.S_ISSOCK(mode) and not link.startswith("/proc"):
                raise Loot(name, link)
        if sockets != 1:
            raise Loot(sockets)
        return super().predict(state, query)
"""

NAN = """
class Learner(Base):
    def predict(self, state, query):
        return Prediction(torch.full((*query.x.shape[:2], 5), float("nan")))
"""

INFINITE = """
class Learner(Base):
    def predict(self, state, query):
        return Prediction(torch.full((*query.x.shape[:2], 5), float("inf")))
"""

SLEEP = """
import time

class Learner(Base):
    def predict(self, state, query):
        time.sleep(10**6)
"""

EXIT = """
import os

class Learner(Base):
    def predict(self, state, query):
        os._exit(0)
"""

SYSTEM_EXIT = """
import sys

class Learner(Base):
    def predict(self, state, query):
        sys.exit(0)
"""

SHAPE = """
class Learner(Base):
    def predict(self, state, query):
        return Prediction(torch.zeros(1, 1, 5))
"""

WIDE = """
class Learner(Base):
    def predict(self, state, query):
        return Prediction(torch.zeros(*query.x.shape[:2], 20_000))
"""

DTYPE = """
class Learner(Base):
    def predict(self, state, query):
        return Prediction(torch.zeros(*query.x.shape[:2], 5, dtype=torch.complex64))
"""

OBJECT = """
class Learner(Base):
    def predict(self, state, query):
        return Prediction([[object()]])
"""

ESCAPES = """
class Learner(Base):
    def predict(self, state, query):
        raise RuntimeError("spread over\\nlines " + "x" * 10**6)
"""

MISSING = "class Learner(Base):\n    import_me = __import__('no_such_module')\n"

POISON = "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x7f{}"

ATTACKS: Mapping[str, Attack] = {
    "walk the frames": Attack(FRAMES),
    "scan the garbage collector": Attack(GARBAGE),
    "read /proc of the scorer": Attack(PROC),
    "read records, salt and home from disk": Attack(DISK),
    "patch torch, numpy and time": Attack(MONKEY),
    "replay guessed seeds": Attack(SEEDS),
    "connect to the network": Attack(NETWORK),
    "read the environment": Attack(ENVIRONMENT),
    "write to the package": Attack(PACKAGE),
    "shadow metabench and torch": Attack(
        SHADOW,
        files={
            "metabench/__init__.py": "raise SystemError('shadowed')",
            "metabench/scoring.py": "score = lambda *a: 1.0",
            "torch.py": "raise SystemError('shadowed')",
            "numpy.py": "raise SystemError('shadowed')",
            "json.py": "raise SystemError('shadowed')",
            "sitecustomize.py": "raise SystemError('shadowed')",
        },
    ),
    "unshare, mount, trace, raise limits": Attack(ESCAPE),
    "inherit descriptors": Attack(DESCRIPTORS),
    "fill the scratch folder": Attack(SCRATCH),
    "constant class": Attack(SLOT),
    "infinite scores": Attack(INFINITE),
    "signals to the scorer": Attack(SIGNALS),
    "patch builtins": Attack(BUILTINS, "frame: "),
    "fork bomb": Attack(FORKS, "started more than 64 processes|used more than"),
    "memory bomb": Attack(MEMORY, "memory|alloc"),
    "memory bomb of many processes": Attack(CHILDREN, "used more than .* bytes of memory"),
    "zip bomb": Attack(ZIP, "File too large|No space left|OSError"),
    "endless output": Attack(OUTPUT, "printed more than"),
    "huge frame": Attack(HUGE_FRAME, "frame: .* at most"),
    "endless frames": Attack(ENDLESS_FRAMES, "frame: answers request 1, not"),
    "pickle on the wire": Attack(PICKLE, "frame: does not begin with"),
    "undeclared transduction": Attack(BATCH, "other queries of the batch"),
    "poisoned weights": Attack(WEIGHTS, "SafetensorError: .*[Hh]eader"),
    "sleep forever": Attack(SLEEP, "no answer within"),
    "exit in the middle": Attack(EXIT, "its process ended: exit code 0"),
    "raise SystemExit": Attack(SYSTEM_EXIT, "in predict: SystemExit"),
    "lie about the shape": Attack(SHAPE, "predict returned shape|other queries"),
    "scores too wide": Attack(WIDE, "frame: .* bytes of arrays; at most"),
    "lie about the type": Attack(DTYPE, "complex64"),
    "no array": Attack(OBJECT, "in predict"),
    "endless error": Attack(ESCAPES, "RuntimeError: spread over lines x{100}"),
    "fail on import": Attack(MISSING, "in load: ModuleNotFoundError"),
}
