"""The secret behind private episodes: committed to before anyone is scored, revealed afterwards.

Whoever knows the secret can draw the episodes again; whoever has only its commitment, a hash, can
neither draw them nor exchange the secret later on.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from metabench.errors import MetabenchError

BYTES = 32


def new_salt(path: Path) -> bytes:
    """A new secret in a file that only its owner may read, as hexadecimal digits.

    Raises MetabenchError if there is a file already, or it cannot be written.
    """
    secret = secrets.token_bytes(BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise MetabenchError(f"{path}: holds a salt already; write to another file") from None
    except OSError as error:
        raise MetabenchError(f"{path}: cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(secret.hex() + "\n")
    return secret


def read_salt(path: Path | str) -> bytes:
    """The secret of a file; MetabenchError, which never quotes the file, if it holds none."""
    try:
        mode = os.stat(path).st_mode
        text = Path(path).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise MetabenchError(
            f"{path}: no such file. A salt is {2 * BYTES} hexadecimal digits that only its owner "
            f"may read: (umask 077; openssl rand -hex {BYTES} > {path})"
        ) from None
    except OSError as error:
        raise MetabenchError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if os.name == "posix" and mode & 0o077:
        raise MetabenchError(f"{path}: others may read this secret: chmod 600 {path}")
    return parse_salt(text, str(path))


def parse_salt(text: str, where: str) -> bytes:
    """A secret written as hexadecimal digits."""
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != BYTES:
        raise MetabenchError(
            f"{where}: not a salt: expected {2 * BYTES} hexadecimal digits (metabench board salt)"
        )
    return secret


def commitment(secret: bytes) -> str:
    """SHA-256 of the secret, as hexadecimal digits: it may be published."""
    return hashlib.sha256(secret).hexdigest()


def mixed(secret: bytes, *purpose: str) -> str:
    """A key for one purpose, HMAC-SHA256 as hexadecimal digits: it tells nothing of any other."""
    text = "".join(f"{len(part)}:{part}" for part in ("metabench", *purpose))
    return hmac.new(secret, text.encode(), "sha256").hexdigest()
