"""The frame check under fuzzing: every byte string is read or refused, never a stray exception."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.ground.arrays import array, pack
from grader.sandbox import Request
from grader.sandbox.protocol import codec, frames

GOOD = pack({"out/x": array(np.arange(6, dtype=np.float32))}, {frames.META_KEY: '{"values":{}}'})


def frame(header: object, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


def entry(dtype="F32", shape=(1,), offsets=(0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


META = {"__metadata__": {frames.META_KEY: '{"values":{}}'}}


def test_a_good_frame_is_read():
    reply = codec.read_reply(GOOD)
    assert np.array_equal(reply.tensors["x"].values, np.arange(6, dtype=np.float32))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 1 << 63),
        struct.pack("<Q", 100) + b"{}",
        frame(b"[" * 100_000),
        frame(b"not json"),
        frame({}),
        frame({"__metadata__": {"other": "1"}}),
        frame({"__metadata__": {frames.META_KEY: '{"values":{}}', "more": "1"}}),
        frame({**META, "out/x": entry(shape=[-1])}, b"\0" * 4),
        frame({**META, "out/x": entry(shape=[1.0])}, b"\0" * 4),
        frame({**META, "out/x": entry(shape=[1 << 40, 1 << 40])}, b"\0" * 4),
        frame({**META, "out/x": entry(shape=[1] * 9)}, b"\0" * 4),
        frame({**META, "out/x": entry(dtype="C64")}, b"\0" * 4),
        frame({**META, "out/x": entry(offsets=(0, 8))}, b"\0" * 8),
        frame({**META, "out/x": entry(offsets=(4, 8))}, b"\0" * 8),
        frame({**META, "out/x": entry(), "out/y": entry()}, b"\0" * 4),
        frame({**META, "out/x": entry()}, b"\0" * 5),
        frame({**META, "out/x": {**entry(), "extra": 1}}, b"\0" * 4),
        frame({**META, "elsewhere": entry()}, b"\0" * 4),
        frame({**META, "out/x": {**entry(), frames.META_KEY: ""}}, b"\0" * 4),
        frame({**META, "out/x": {**entry(), "dtype": None}}, b"\0" * 4),
        frame({"__metadata__": {**META["__metadata__"], "shape": []}}),
        frame({**META, "x" * 300: entry()}, b"\0" * 4),
        frame({**META, "out/b": entry("BOOL", [1], (0, 1))}, b"\x02"),
        frame({"__metadata__": {frames.META_KEY: '{"values":{"a":' + "[" * 99 + "]" * 99 + "}}"}}),
        frame({"__metadata__": {frames.META_KEY: '{"values":{"a":' + "9" * 5000 + "}}"}}),
        frame({"__metadata__": {frames.META_KEY: '{"values":{"a":"' + "x" * 5000 + '"}}'}}),
        frame({"__metadata__": {frames.META_KEY: '{"values":{},"verdict":"passed"}'}}),
        frame({"__metadata__": {frames.META_KEY: '{"values":{},"raised":{"types":[]}}'}}),
    ],
)
def test_what_no_honest_worker_sends_is_refused(blob):
    with pytest.raises(frames.FrameError):
        codec.read_reply(blob)


def read_or_refuse(blob: bytes) -> None:
    try:
        codec.read_reply(blob)
    except frames.FrameError:
        return


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_raise_nothing_else(blob):
    read_or_refuse(blob)
    read_or_refuse(struct.pack("<Q", len(blob)) + blob)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4))
def test_mutated_frames_raise_nothing_else(changes):
    blob = bytearray(GOOD)
    for position, value in changes:
        blob[position] = value
    read_or_refuse(bytes(blob))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "BOOL", "F8", 3]),
        "shape": st.lists(st.integers(-1, 1 << 41) | JSON, max_size=3),
        "data_offsets": st.lists(st.integers(-1, 8), max_size=3),
    }
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.text(max_size=8), ENTRY | JSON, max_size=3), JSON, st.binary(max_size=8))
def test_structured_headers_raise_nothing_else(tensors, reply, payload):
    text = {frames.META_KEY: json.dumps(reply)}
    read_or_refuse(frame({**tensors, "__metadata__": text}, payload))


@given(JSON.filter(lambda value: value == value))
def test_non_finite_floats_survive_json(value):
    request = Request("call", {"a": value, "b": float("-inf")})
    try:
        blob = codec.pack_request(request, 0)
    except (OverflowError, UnicodeEncodeError):
        return
    args = codec.read_request(frames.parse(blob).meta).args
    assert args["b"] == float("-inf")
