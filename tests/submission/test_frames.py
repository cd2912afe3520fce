"""The wire: every frame comes back as it went, and no bytes do harm."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metabench.errors import TimeLimitError
from metabench.submission.frames import (
    DTYPES,
    HEADER,
    MAGIC,
    MAX_HEAD,
    VERSION,
    Channel,
    Frame,
    ProtocolError,
    encode,
    padded,
)

LIMIT = 2**16


def pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs)


def read(data: bytes, limit: int = LIMIT) -> Frame:
    """What a reader makes of these bytes, after which the other end closes."""
    ours, theirs = pair()
    try:
        ours.socket.sendall(data)
        ours.close()
        return theirs.receive(limit, time.monotonic() + 5.0)
    finally:
        theirs.close()


def raw(frame: Frame) -> bytes:
    return b"".join(bytes(buffer) for buffer in encode(frame))


def header(head: bytes, body: int, magic: bytes = MAGIC, version: int = VERSION) -> bytes:
    return HEADER.pack(magic, version, 1, 2, len(head), body)


def spec(name: str = "x", dtype: str = "f32", shape: object = (2,)) -> bytes:
    arrays = [{"name": name, "dtype": dtype, "shape": shape}]
    return json.dumps({"fields": {}, "arrays": arrays}).encode()


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_of_array_comes_back_bit_by_bit(name: str) -> None:
    dtype = DTYPES[name]  # type: ignore[index]
    sent = (torch.randn(3, 1, 5) * 100).to(dtype)
    if dtype.is_floating_point:
        sent[0, 0, :3] = torch.tensor([float("nan"), float("inf"), -0.0]).to(dtype)
    got = read(raw(Frame(7, 9, {"a": [1, None, "ü"]}, {"x": sent, "none": sent[:0]})))
    assert (got.kind, got.sequence, got.fields) == (7, 9, {"a": [1, None, "ü"]})
    assert got.arrays["x"].dtype == dtype
    assert torch.equal(
        got.arrays["x"].contiguous().view(torch.uint8), sent.contiguous().view(torch.uint8)
    )
    assert got.arrays["none"].shape == (0, 1, 5)


def test_arrays_arrive_where_torch_would_have_put_them() -> None:
    arrays = {f"a{i}": torch.arange(float(i)) for i in range(1, 9)}
    got = read(raw(Frame(1, arrays=arrays))).arrays
    assert all(t.data_ptr() % 64 == 0 for t in got.values())


def test_strided_arrays_and_scalars_are_sent_by_value() -> None:
    x = torch.arange(12.0).view(3, 4).mT
    got = read(raw(Frame(1, arrays={"x": x, "s": torch.tensor(2.5, dtype=torch.float64)}))).arrays
    assert torch.equal(got["x"], x)
    assert got["s"].shape == ()
    assert got["s"].item() == 2.5


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (header(b"", 0, magic=b"PK\x03\x04"), "does not begin"),
        (header(b"", 0, version=VERSION + 1), "protocol version"),
        (HEADER.pack(MAGIC, VERSION, 1, 2, MAX_HEAD + 1, 0), "a head of"),
        (header(b"{}", 2**63), "bytes of arrays; at most"),
        (header(b"{}", LIMIT + 1), "bytes of arrays; at most"),
        (header(b"{}", 64) + b"{}" + bytes(64), "declared"),
        (header(spec(), 8) + spec() + bytes(8), "declared"),
        (header(spec(dtype="object"), 64) + spec(dtype="object") + bytes(64), "head"),
        (header(spec(shape=[-1]), 64) + spec(shape=[-1]) + bytes(64), "head"),
        (header(spec(shape=[2**62, 4]), 0) + spec(shape=[2**62, 4]), "head"),
        (header(spec(shape=[True]), 64) + spec(shape=[True]) + bytes(64), "head"),
        (header(spec(shape=[1] * 9), 64) + spec(shape=[1] * 9) + bytes(64), "head"),
        (header(spec(name="n" * 1000), 64) + spec(name="n" * 1000) + bytes(64), "head"),
        (header(b"\x80\x04.", 0) + b"\x80\x04.", "head"),
        (header(b"[" * 50000, 0) + b"[" * 50000, "head"),
        (header(b'{"pickle":1}', 0) + b'{"pickle":1}', "head"),
    ],
)
def test_what_is_no_frame_is_named(data: bytes, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        read(data)


def test_two_arrays_of_one_name_are_no_frame() -> None:
    one = {"name": "x", "dtype": "u8", "shape": [1]}
    head = json.dumps({"arrays": [one, one]}).encode()
    with pytest.raises(ProtocolError, match="same name"):
        read(header(head, 128) + head + bytes(128))


def test_an_empty_array_with_axes_beyond_count_is_no_frame() -> None:
    shape = [0, 2**39, 2**39, 2**39]
    head = spec(shape=shape)
    with pytest.raises(ProtocolError, match="shape"):
        read(header(head, 0) + head)


def test_a_bool_is_true_or_false_whatever_byte_was_sent() -> None:
    head = spec(dtype="bool", shape=[3])
    got = read(header(head, 64) + head + bytes([0, 1, 255]) + bytes(61)).arrays["x"]
    assert got.view(torch.uint8).tolist() == [0, 1, 1]


def test_a_silent_end_is_a_time_limit_and_a_closed_one_the_end() -> None:
    ours, theirs = pair()
    began = time.monotonic()
    with pytest.raises(TimeLimitError):
        theirs.receive(LIMIT, began + 0.1)
    assert time.monotonic() - began < 2.0
    ours.socket.sendall(header(b"{}", 0)[:10])
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive(LIMIT, time.monotonic() + 5.0)


def test_an_end_that_does_not_read_is_a_time_limit() -> None:
    ours, _theirs = pair()
    large = Frame(1, arrays={"x": torch.zeros(2**24)})
    with pytest.raises(TimeLimitError):
        ours.send(large, time.monotonic() + 0.2)


def test_a_frame_larger_than_the_socket_holds_comes_whole() -> None:
    ours, theirs = pair()
    sent = Frame(1, arrays={"x": torch.arange(2.0**20)})
    sender = threading.Thread(target=ours.send, args=(sent,))
    sender.start()
    got = theirs.receive(deadline=time.monotonic() + 10.0)
    sender.join()
    assert torch.equal(got.arrays["x"], sent.arrays["x"])


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
heads = st.one_of(
    st.binary(max_size=64),
    values.map(lambda value: json.dumps({"fields": {"v": value}}).encode()),
    st.builds(
        lambda name, dtype, shape: json.dumps(
            {"arrays": [{"name": name, "dtype": dtype, "shape": shape}]}
        ).encode(),
        st.one_of(st.just("x"), values),
        st.sampled_from([*DTYPES, "O", "f128"]),
        st.lists(st.integers(-2, 2**41), max_size=9),
    ),
)
VALID = raw(Frame(1, 2, {"a": 1}, {"x": torch.zeros(2, 3), "y": torch.ones(5, dtype=torch.bool)}))


def changed(places: list[tuple[int, int]], end: int) -> bytes:
    """The valid frame with some bytes changed, cut short."""
    data = bytearray(VALID)
    for place, byte in places:
        data[place] = byte
    return bytes(data[:end])


hostile = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda fields, head, body: HEADER.pack(MAGIC, VERSION, *fields) + head + body,
        st.tuples(
            st.integers(0, 2**16 - 1),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**64 - 1),
        ),
        heads,
        st.binary(max_size=64),
    ),
    st.builds(lambda head, body: header(head, len(body)) + head + body, heads, st.binary()),
    st.builds(
        changed,
        st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=3),
        st.sampled_from([len(VALID), len(VALID), len(VALID) - 1, 40]),
    ),
)
"""Noise, frames with fields out of range, valid ones cut short or with bytes changed."""


@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile)
def test_ten_thousand_hostile_frames_end_in_a_frame_or_an_error_that_says_so(data: bytes) -> None:
    try:
        frame = read(data)
    except (ProtocolError, EOFError):
        return
    assert sum(padded(t.numel() * t.element_size()) for t in frame.arrays.values()) <= LIMIT
