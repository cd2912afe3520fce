"""Where data sets are read from and where parsed class pools are kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from metabench.errors import MetabenchError
from metabench.tasks.pool import ClassPool

FORMAT = "metabench class pool 1"
Manifest = Mapping[str, str]
"""What a cached pool was made from: anything that, if changed, makes the cache stale."""

_chosen_root: list[Path] = []


def set_data_root(path: str | Path | None) -> None:
    """Read data sets from this folder in this process; None goes back to METABENCH_DATA."""
    _chosen_root[:] = [] if path is None else [Path(path)]


def data_root() -> Path | None:
    """The folder of local data sets, or None; raises MetabenchError if it is named but absent."""
    named = os.environ.get("METABENCH_DATA")
    root = _chosen_root[0] if _chosen_root else Path(named) if named else None
    if root is not None and not root.is_dir():
        origin = "--data-root" if _chosen_root else "METABENCH_DATA"
        raise MetabenchError(f"{origin} is {str(root)!r}, which is not a folder")
    return root


def cache_dir() -> Path:
    """METABENCH_CACHE, or the user's cache folder."""
    named = os.environ.get("METABENCH_CACHE")
    if named:
        return Path(named)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("metabench"))


def file_digest(path: Path) -> str:
    """Size and SHA-256 of a file."""
    with path.open("rb") as f:
        return f"{path.stat().st_size}:{hashlib.file_digest(f, 'sha256').hexdigest()}"


def pool_path(name: str, manifest: Manifest) -> Path:
    """The cache file of the pool made from these."""
    key = hashlib.sha256(json.dumps(dict(manifest), sort_keys=True).encode()).hexdigest()[:16]
    return cache_dir() / "pools" / f"{name}-{key}.safetensors"


def cached_pool(name: str, manifest: Manifest, build: Callable[[], ClassPool]) -> ClassPool:
    """The cached pool of this name and manifest; built and kept if absent, stale or damaged."""
    path = pool_path(name, manifest)
    pool = load_pool(path, manifest)
    if pool is None:
        pool = build()
        try:
            save_pool(path, pool, manifest)
        except OSError as error:
            warnings.warn(f"cannot keep {name} in {path.parent}: {error}", stacklevel=2)
    return pool


def save_pool(path: Path, pool: ClassPool, manifest: Manifest) -> None:
    """Write pool and manifest as one file, complete or not at all."""
    from safetensors.torch import save

    about = {
        "format": FORMAT,
        "digest": pool.digest,
        "made_from": dict(manifest),
        "class_names": pool.class_names,
        "group_names": pool.group_names,
    }
    tensors = {"images": pool.images, "group": torch.from_numpy(pool.group)}
    # The manifest travels in the file's own header, so the two can never disagree.
    data = save(tensors, metadata={"manifest": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_pool(path: Path, manifest: Manifest) -> ClassPool | None:
    """The pool in that file, or None where it is absent, damaged or made from something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as f:
            about = json.loads(f.metadata()["manifest"])
            images, group = f.get_tensor("images"), f.get_tensor("group")
        if about["format"] != FORMAT or about["made_from"] != dict(manifest):
            return None
        names = tuple(about["class_names"]), tuple(about["group_names"])
        pool = ClassPool.of(images, group.numpy().astype(np.int64), *names)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    return pool if pool.digest == about["digest"] else None
