"""Typed arrays in numpy and their safetensors form; torch is not needed to read or compare them.

`Array` pairs a dtype name with the numbers because numpy has no bfloat16: those are held as float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import TensorSpec, deserialize, serialize

TAGS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
DTYPES = {tag: name for name, tag in TAGS.items()}
FLOATING = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Array:
    """Numbers with a dtype name; `values` is float32 for bfloat16, else the numpy dtype of that name."""

    dtype: str
    values: np.ndarray[Any, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    @property
    def floating(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self.dtype in FLOATING

    def astype(self, dtype: str) -> Array:
        """Return the same numbers rounded to `dtype`."""
        return Array(dtype, round_to(self.values, dtype))


def round_to(values: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Round to the nearest number of `dtype` (ties to even), in the numpy type that holds it."""
    if dtype != "bfloat16":
        return np.asarray(values, dtype=np.dtype(dtype), order="C")
    bits = np.asarray(values, dtype=np.float32, order="C").view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    keep = np.isfinite(values)
    return np.where(keep, rounded, bits).astype(np.uint32).view(np.float32)


def array(values: Any, dtype: str | None = None) -> Array:
    """Make an `Array` from anything numpy accepts; the dtype is numpy's own unless named."""
    numbers = np.asarray(values)
    name = dtype or numbers.dtype.name
    if name not in TAGS:
        raise ValueError(f"dtype {name} is not one of {', '.join(TAGS)}")
    return Array(name, round_to(numbers, name))


def pack(arrays: Mapping[str, Array], meta: Mapping[str, str] | None = None) -> bytes:
    """Serialise to one safetensors blob; give at most one metadata key for reproducible bytes."""
    # the specs carry bare addresses: `raw` keeps the buffers alive until serialize has read them
    raw = {name: _raw(item) for name, item in arrays.items()}
    specs = {
        name: TensorSpec(
            dtype=item.dtype,
            shape=list(item.shape),
            data_ptr=raw[name].__array_interface__["data"][0],
            data_len=raw[name].nbytes,
        )
        for name, item in arrays.items()
    }
    return bytes(serialize(specs, dict(meta) if meta else None))


def unpack(blob: bytes) -> dict[str, Array]:
    """Read the tensors of a safetensors blob; raises SafetensorError when it is malformed."""
    return {name: _parse(entry) for name, entry in deserialize(blob)}  # type: ignore[no-untyped-call]


def _raw(item: Array) -> np.ndarray[Any, Any]:
    if item.dtype == "bfloat16":
        return np.ascontiguousarray((item.values.view(np.uint32) >> 16).astype("<u2"))
    return np.ascontiguousarray(item.values)


def _parse(entry: dict[str, Any]) -> Array:
    return from_bytes(entry["dtype"], entry["shape"], bytes(entry["data"]))


def from_bytes(tag: str, shape: Sequence[int], data: bytes) -> Array:
    """Return an array on these bytes, with a dtype in safetensors' words; ValueError when they do not fit the shape."""
    name = DTYPES[tag]
    if name == "bfloat16":
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return Array(name, wide.view(np.float32).reshape(shape))
    return Array(name, np.frombuffer(data, np.dtype(name)).reshape(shape))
