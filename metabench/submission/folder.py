"""What a submission's folder may be: looked through before anything in it is run."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from metabench.errors import MetabenchError

MOST_FILES = 2000
MOST_BYTES = 2**31
DEEPEST = 16
"""Folders within folders."""
UNHASHED = ("__pycache__", ".git")
"""Folders that are no part of a submission: nothing in them is hashed, seen or run."""


def check_folder(folder: Path) -> list[Path]:
    """Its files in order, relative to it; nothing is unpacked, and links are not followed.

    Raises MetabenchError on links, on what is neither file nor folder, on names that no archive
    should hold, and past the limits on number, size and depth.
    """
    if not folder.is_dir():
        raise MetabenchError(f"{folder}: no folder")
    files: list[Path] = []
    size = 0
    for path, status in _walk(folder, 0):
        files.append(path.relative_to(folder))
        size += status.st_size
        if len(files) > MOST_FILES:
            raise MetabenchError(f"{folder}: more than {MOST_FILES} files")
        if size > MOST_BYTES:
            raise MetabenchError(f"{folder}: more than {MOST_BYTES} bytes")
    return sorted(files)


def folder_digest(folder: Path) -> str:
    """Hash of names and contents: 16 hex digits, as of a learner's source file."""
    whole = hashlib.sha256()
    for file in check_folder(folder):
        with folder.joinpath(file).open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
        name = file.as_posix().encode()
        whole.update(len(name).to_bytes(8, "little") + name + content)
    return whole.hexdigest()[:16]


def unhashed(folder: Path) -> Iterator[Path]:
    """The folders of ``UNHASHED``, relative to it; what they hold is not listed."""
    for root, names, _ in os.walk(folder):
        yield from (Path(root, name).relative_to(folder) for name in names if name in UNHASHED)
        names[:] = [name for name in names if name not in UNHASHED]


def inside(folder: Path, name: str) -> Path:
    """The file of that relative name in the folder; MetabenchError if the name leads out of it."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise MetabenchError(f"{name!r} is no name of a file inside the folder")
    found = folder / path
    if not found.is_file() or found.is_symlink():
        raise MetabenchError(f"{folder}: no file {name!r}")
    if not found.resolve().is_relative_to(folder.resolve()):
        raise MetabenchError(f"{name!r} leads out of the folder")
    return found


def _walk(folder: Path, depth: int) -> Iterator[tuple[Path, os.stat_result]]:
    if depth > DEEPEST:
        raise MetabenchError(f"{folder}: more than {DEEPEST} folders within folders")
    for path in folder.iterdir():
        status = path.lstat()
        if path.name in UNHASHED and stat.S_ISDIR(status.st_mode):
            continue
        if stat.S_ISLNK(status.st_mode):
            raise MetabenchError(f"{path}: links are not allowed; copy the file")
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, depth + 1)
        elif stat.S_ISREG(status.st_mode):
            yield path, status
        else:
            raise MetabenchError(f"{path}: neither a file nor a folder")
