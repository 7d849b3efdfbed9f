"""Frames, for both sides: an 8-byte length, then a blob in the form of safetensors. Never pickle.

A frame with one tensor of two float32 numbers and the metadata M:

    length of the blob       8 bytes, little-endian
    length of the header     8 bytes, little-endian
    header                   {"__metadata__":{"kvdojo":"M"},"out/x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}
    payload                  8 bytes

`parse` checks every header against a schema before anything is made of the bytes, so that a hostile worker meets
one strict reader: known dtypes, sizes within bounds, offsets that tile the payload. What a message means is the
business of `codec`.
"""

from __future__ import annotations

import math
import operator
import struct
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from grader.ground.arrays import Array, from_bytes

MAX_HEADER = 256 << 10
META_KEY = "kvdojo"
# frames that are no blobs
RELOAD = b"\0"  # execute the submission again
FORK = b"\1"  # from now on answer every case in a child, and at a RELOAD begin a new one
LENGTH = struct.Struct("<Q")
SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}

Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
Tag = Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]


class FrameError(Exception):
    """A frame that no honest worker sends."""


class TensorHeader(NamedTuple):
    """One tensor's entry in a safetensors header."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of the header as it is decoded in one go: a tensor's, or the metadata with its one key."""

    dtype: Tag | None = None
    shape: Annotated[list[Size], msgspec.Meta(max_length=8)] | None = None
    data_offsets: tuple[Size, Size] | None = None
    meta: str | None = msgspec.field(default=None, name=META_KEY)

    def tensor(self) -> TensorHeader:
        """Return the entry of a tensor; ValueError for anything else."""
        if self.dtype is None or self.shape is None or self.data_offsets is None:
            raise ValueError("not a tensor's entry")
        if self.meta is not None:
            raise ValueError("a tensor's entry with metadata in it")
        return TensorHeader(self.dtype, self.shape, self.data_offsets)

    def text(self) -> str:
        """Return the text of the metadata; ValueError for anything else."""
        if self.meta is None or self != _Entry(meta=self.meta):
            raise ValueError("not the metadata")
        return self.meta


_header = msgspec.json.Decoder(dict[Name, _Entry])
_NO_METADATA = _Entry()


def framed(blob: bytes) -> bytes:
    """Return a blob as it travels: behind its length."""
    return LENGTH.pack(len(blob)) + blob


@dataclass(frozen=True)
class Frame:
    """A well-formed blob: its one metadata string, its tensors' headers, and the bytes behind them."""

    meta: str
    tensors: dict[str, TensorHeader]
    payload: memoryview

    def data(self, entry: TensorHeader) -> bytes:
        """Return the bytes of one tensor."""
        start, end = entry.data_offsets
        return self.payload[start:end].tobytes()


def parse(blob: bytes) -> Frame:
    """Take a blob apart; raise FrameError for one that is not well-formed."""
    if len(blob) < 8:
        raise FrameError("the frame is too short")
    (size,) = LENGTH.unpack_from(blob)
    if size > MAX_HEADER or 8 + size > len(blob):
        raise FrameError("the header's length is out of range")
    view = memoryview(blob)
    try:
        entries = _header.decode(view[8 : 8 + size])
        meta = entries.pop("__metadata__", _NO_METADATA).text()
        tensors = {name: entry.tensor() for name, entry in entries.items()}
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the header is malformed ({type(error).__name__})") from None
    _check_tiling(list(tensors.values()), len(blob) - 8 - size)
    return Frame(meta, tensors, view[8 + size :])


_offsets = operator.attrgetter("data_offsets")


def _check_tiling(tensors: list[TensorHeader], payload: int) -> None:
    end = 0
    for entry in sorted(tensors, key=_offsets):
        start, end = end, end + math.prod(entry.shape) * SIZES[entry.dtype]
        if entry.data_offsets != (start, end):
            raise FrameError("the tensors' offsets do not tile the payload")
    if end != payload:
        raise FrameError("the tensors do not cover the payload")


def read(blob: bytes) -> tuple[str, dict[str, Array]]:
    """Return the metadata string and the arrays of a blob; raise FrameError for one that is not well-formed."""
    frame = parse(blob)
    arrays = {name: _array(entry, frame.data(entry)) for name, entry in frame.tensors.items()}
    return frame.meta, arrays


def _array(entry: TensorHeader, data: bytes) -> Array:
    try:
        array = from_bytes(entry.dtype, entry.shape, data)
    except ValueError as error:  # a shape with a zero in it can be larger than numpy allows
        raise FrameError(f"the tensors cannot be read ({type(error).__name__})") from None
    if array.dtype == "bool" and array.values.size and array.values.view("u1").max() > 1:
        raise FrameError("a boolean is neither 0 nor 1")
    return array


class NonFinite(msgspec.Struct, forbid_unknown_fields=True):
    """A float that JSON cannot write, as `{"float": "nan"}`."""

    float: Literal["nan", "inf", "-inf"]


def to_json(value: Any) -> Any:
    """Return the value with floats that are not finite replaced by `NonFinite`, at any depth.

    >>> to_json([1.5, float("-inf")])
    [1.5, NonFinite(float='-inf')]
    """
    if isinstance(value, float) and not math.isfinite(value):
        return NonFinite(float(value).__repr__())  # type: ignore[arg-type]
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any) -> Any:
    """Undo `to_json` on decoded values, where a `NonFinite` may also be a plain dict.

    >>> from_json([1.5, {"float": "-inf"}])
    [1.5, -inf]
    """
    if isinstance(value, NonFinite):
        return float(value.float)
    if isinstance(value, dict):
        if list(value) == ["float"]:
            return float(value["float"])
        return {name: from_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value
