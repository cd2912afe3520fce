"""The wire between scorer and submission: length-checked binary frames, never pickle.

A frame is a header, a head and a body. The header (``HEADER``, little-endian) has magic, version,
kind, sequence number and both lengths; the head is JSON of a strict schema that lists the arrays
(name, dtype, shape); the body holds them raw, each at a multiple of ``ALIGN`` bytes. Every length
is checked before anything of that length is allocated, and whatever bytes come, reading them ends
in a frame or a ``ProtocolError``.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from torch import Tensor

from metabench.errors import MetabenchError, TimeLimitError

MAGIC = b"MBWP"
VERSION = 1
HEADER = struct.Struct("<4sHHIIQ")
"""Magic, version, kind, sequence number, bytes of the head, bytes of the body."""
ALIGN = 64
"""As torch aligns: kernels may sum in another order elsewhere."""
GATHERED = 512
"""Buffers sent in one call; the system's limit is 1024."""
MAX_HEAD = 2**20
MAX_BODY = 2**32
MAX_ARRAYS, MAX_AXES, MAX_NAME = 4096, 8, 256

DTypeName = Literal["f64", "f32", "f16", "bf16", "i64", "i32", "i16", "u8", "bool"]
DTYPES: Mapping[DTypeName, torch.dtype] = {
    "f64": torch.float64,
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "i32": torch.int32,
    "i16": torch.int16,
    "u8": torch.uint8,
    "bool": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class ProtocolError(MetabenchError):
    """Bytes that are no frame, or a frame that nobody asked for."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ArraySpec(_Strict):
    """One array of the body."""

    name: str = Field(max_length=MAX_NAME)
    dtype: DTypeName
    shape: Annotated[list[Annotated[int, Field(ge=0, lt=2**40)]], Field(max_length=MAX_AXES)]

    @property
    def bytes(self) -> int:
        """Without padding."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


class Head(_Strict):
    """What a frame says beside its arrays."""

    fields: dict[str, JsonValue] = {}
    arrays: Annotated[list[ArraySpec], Field(max_length=MAX_ARRAYS)] = []


@dataclass(frozen=True)
class Frame:
    """One message."""

    kind: int
    sequence: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)


def _bytes(t: Tensor) -> memoryview:
    array: Any = t.numpy()
    return memoryview(array)


def padded(size: int) -> int:
    """The next multiple of ``ALIGN``."""
    return -(-size // ALIGN) * ALIGN


def encode(frame: Frame) -> list[Any]:
    """The frame as buffers to be sent one after the other; arrays are not copied."""
    tensors = {k: t.detach().cpu().contiguous() for k, t in frame.arrays.items()}
    unknown = [f"{k} is {t.dtype}" for k, t in tensors.items() if t.dtype not in NAMES]
    if unknown:
        raise ProtocolError(f"frame: {unknown[0]}; allowed: {', '.join(DTYPES)}")
    specs = [
        ArraySpec(name=name, dtype=NAMES[t.dtype], shape=list(t.shape))
        for name, t in tensors.items()
    ]
    head = Head(fields=dict(frame.fields), arrays=specs).model_dump_json().encode()
    body = sum(padded(spec.bytes) for spec in specs)
    if len(head) > MAX_HEAD:
        raise ProtocolError(f"frame: a head of {len(head)} bytes; at most {MAX_HEAD}")
    header = HEADER.pack(MAGIC, VERSION, frame.kind, frame.sequence, len(head), body)
    buffers: list[Any] = [header + head]
    for spec, t in zip(specs, tensors.values(), strict=True):
        if spec.bytes:
            buffers.append(_bytes(t.reshape(-1).view(torch.uint8)))
            buffers.append(bytes(padded(spec.bytes) - spec.bytes))
    return buffers


def decode_header(data: bytes, limit: int) -> tuple[int, int, int, int]:
    """Kind, sequence, bytes of the head, bytes of the body (at most ``limit``)."""
    if len(data) != HEADER.size:
        raise ProtocolError(f"frame: a header of {len(data)} bytes, expected {HEADER.size}")
    magic, version, kind, sequence, head, body = HEADER.unpack(data)
    if magic != MAGIC:
        raise ProtocolError(f"frame: does not begin with {MAGIC!r}")
    if version != VERSION:
        raise ProtocolError(f"frame: protocol version {version}, expected {VERSION}")
    if head > MAX_HEAD:
        raise ProtocolError(f"frame: a head of {head} bytes; at most {MAX_HEAD}")
    if body > min(limit, MAX_BODY):
        raise ProtocolError(f"frame: {body} bytes of arrays; at most {min(limit, MAX_BODY)}")
    return kind, sequence, head, body


def decode_head(data: bytes, body: int) -> Head:
    """The head of a frame whose arrays fill ``body`` bytes exactly."""
    try:
        head = Head.model_validate_json(data)
    except (ValidationError, ValueError, RecursionError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ProtocolError(f"frame: head: {problem}") from None
    names = {spec.name for spec in head.arrays}
    if len(names) != len(head.arrays):
        raise ProtocolError("frame: two arrays have the same name")
    for spec in head.arrays:
        # Empty arrays too: torch computes strides from the other axes.
        if math.prod(max(1, n) for n in spec.shape) > MAX_BODY:
            raise ProtocolError(f"frame: no array has the shape {spec.shape}")
    declared = sum(padded(spec.bytes) for spec in head.arrays)
    if declared != body:
        raise ProtocolError(f"frame: arrays of {declared} bytes declared, {body} sent")
    return head


def decode_arrays(specs: Sequence[ArraySpec], body: Tensor) -> dict[str, Tensor]:
    """The arrays as views of the body, a tensor of bytes that they fill."""
    arrays, start = {}, 0
    for spec in specs:
        raw = body[start : start + spec.bytes]
        start += padded(spec.bytes)
        if spec.dtype == "bool":
            raw = raw.ne(0)  # any other byte is no bool
        arrays[spec.name] = raw.view(DTYPES[spec.dtype]).view(spec.shape)
    return arrays


class Channel:
    """One end of a stream socket. Not for several threads."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    def send(self, frame: Frame, deadline: float = math.inf) -> None:
        """Raises TimeLimitError past the deadline (time.monotonic), EOFError if nobody listens."""
        try:
            # Gathered: every call of its own would wake the reader.
            waiting = [memoryview(buffer) for buffer in encode(frame)]
            while waiting:
                self._wait(deadline)
                sent = self.socket.sendmsg(waiting[:GATHERED])
                while waiting and sent >= len(waiting[0]):
                    sent -= len(waiting.pop(0))
                if sent:
                    waiting[0] = waiting[0][sent:]
        except TimeoutError:
            raise TimeLimitError("no answer in time") from None
        except OSError:
            raise EOFError("the other end has closed") from None

    def receive(self, limit: int = MAX_BODY, deadline: float = math.inf) -> Frame:
        """The next frame, with at most ``limit`` bytes of arrays.

        Raises ProtocolError, TimeLimitError past the deadline, EOFError if the other end closed.
        """
        header = bytearray(HEADER.size)
        self._fill(memoryview(header), deadline)
        kind, sequence, head_size, body_size = decode_header(bytes(header), limit)
        raw = bytearray(head_size)
        self._fill(memoryview(raw), deadline)
        head = decode_head(bytes(raw), body_size)
        body = torch.empty(body_size, dtype=torch.uint8)
        if body_size:
            self._fill(_bytes(body), deadline)
        return Frame(kind, sequence, head.fields, decode_arrays(head.arrays, body))

    def close(self) -> None:
        """Twice does no harm."""
        self.socket.close()

    def _fill(self, view: memoryview, deadline: float) -> None:
        try:
            while len(view):
                self._wait(deadline)
                count = self.socket.recv_into(view)
                if count == 0:
                    raise EOFError("the other end has closed")
                view = view[count:]
        except TimeoutError:
            raise TimeLimitError("no answer in time") from None
        except OSError:
            raise EOFError("the other end has closed") from None

    def _wait(self, deadline: float) -> None:
        if deadline == math.inf:
            self.socket.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeLimitError("no answer in time")
        self.socket.settimeout(left)
