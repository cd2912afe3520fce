"""What is wrong with a submission's folder, with the fix, before any of its code is run."""

from __future__ import annotations

import ast
import hashlib
import warnings
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from metabench.errors import MetabenchError, one_line
from metabench.submission.folder import check_folder, inside
from metabench.submission.manifest import FILE, Manifest, Weights, load_manifest

UNPICKLED = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".npz", ".npy")
COMPILED = (".so", ".pyd", ".dll", ".dylib", ".pyc", ".pyo", ".exe")
PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".whl", ".egg")


def open_submission(folder: Path) -> Manifest:
    """The manifest of a folder that nothing is wrong with; MetabenchError with all that is."""
    manifest, problems = look_through(folder)
    if manifest is None or problems:
        more = f" (and {len(problems) - 1} more: metabench check)" if len(problems) > 1 else ""
        raise MetabenchError(problems[0] + more)
    return manifest


def look_through(folder: Path) -> tuple[Manifest | None, list[str]]:
    """The manifest, if it can be read, and every problem in one line with its fix."""
    try:
        manifest = load_manifest(folder)
    except MetabenchError as error:
        return None, [str(error)]
    try:
        files = check_folder(folder)
    except MetabenchError as error:
        return manifest, [str(error)]
    problems = [problem for file in files for problem in _of_file(folder, file)]
    told = (_missing(text) for text in manifest.requirements)
    problems += [f"{folder / FILE}: requirements: {problem}" for problem in told if problem]
    if manifest.weights is not None:
        try:
            load_weights(folder, manifest.weights)
        except MetabenchError as error:
            problems.append(str(error))
    return manifest, problems


def load_weights(folder: Path, weights: Weights) -> dict[str, Tensor]:
    """The arrays of the file that was hashed; safetensors holds numbers and nothing that runs."""
    data = inside(folder, weights.file).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != weights.sha256:
        raise MetabenchError(
            f"{folder / weights.file}: SHA-256 is {found}, the manifest says {weights.sha256}; "
            "write the first into submission.toml if the file is right"
        )
    try:
        arrays: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise MetabenchError(
            f"{folder / weights.file}: no valid safetensors file ({one_line(error)}); write it "
            "with safetensors.torch.save_file"
        ) from None
    return arrays


def _missing(text: str) -> str:
    """What is wrong with a requirement here; nothing if it is met."""
    try:
        asked = Requirement(text)
    except InvalidRequirement:
        return f"{text!r} is no requirement; write 'name' or 'name>=1.2'"
    if asked.marker is not None and not asked.marker.evaluate():
        return ""
    try:
        found = metadata.version(asked.name)
    except metadata.PackageNotFoundError:
        return f"{asked.name} is not installed: pip install '{text}'"
    if not asked.specifier.contains(found, prereleases=True):
        return f"{asked.name} {found} is installed: pip install '{text}'"
    return ""


def _of_file(folder: Path, file: Path) -> Iterator[str]:
    suffix, path = file.suffix.lower(), folder / file
    if suffix in UNPICKLED:
        yield f"{path}: may hold pickled code; save arrays as .safetensors"
    elif suffix in COMPILED:
        yield f"{path}: compiled code is not accepted; send its source, or name the package"
    elif suffix in PACKED or zipfile.is_zipfile(path):
        yield f"{path}: archives are not unpacked; put the files themselves into the folder"
    elif suffix == ".py":
        yield from _syntax(path)


def _syntax(path: Path) -> Iterator[str]:
    source = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source, str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        yield f"{where}: not valid Python: {one_line(error)}"
