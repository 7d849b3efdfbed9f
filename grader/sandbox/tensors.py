"""Frames and torch tensors, in the worker: take the inputs out of a request, put outputs into a reply.

The frame's form is `wire`'s business.  A tensor keeps its own memory, so that growing one reaches no other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Container, Mapping

import torch
from safetensors import TensorSpec, serialize

from grader.arrays import DTYPES
from grader.sandbox import wire

NAMES = {getattr(torch, name): name for name in DTYPES.values()}
TYPES = {tag: getattr(torch, name) for tag, name in DTYPES.items()}


class Inputs:
    """The tensors of a request on the device of the run, and the bytes they came from."""

    def __init__(self, frame: wire.Frame, device: str) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._sent: dict[str, tuple[torch.Tensor, int, memoryview]] = {}
        for name, entry in frame.tensors.items():
            data = frame.data(entry)
            tensor = _tensor(entry, data).to(device)
            self.tensors[name] = tensor
            # a twin on the same memory remembers the geometry, which a call can change in place
            self._sent[name] = tensor.detach(), tensor.data_ptr(), data

    def changed(self, spared: Container[str]) -> dict[str, torch.Tensor]:
        """Return the inputs that are not as they were, but for those whose top name is `spared`.

        One grown in place comes back empty: changed, and never too big to send.
        """
        return {
            name: value if value.nbytes <= len(self._sent[name][2]) else value.new_empty(0)
            for name, value in self.tensors.items()
            if name.split("/")[0] not in spared and not self._kept(name, value)
        }

    def _kept(self, name: str, value: torch.Tensor) -> bool:
        twin, address, data = self._sent[name]
        in_place = (
            value.data_ptr() == address
            and value.shape == twin.shape
            and value.dtype == twin.dtype
            and value.stride() == twin.stride()
        )
        # on another device the grader compares what is sent back
        return in_place and value.is_cpu and ctypes.string_at(address, len(data)) == data


def _tensor(entry: wire.TensorHeader, data: memoryview) -> torch.Tensor:
    dtype = TYPES[entry.dtype]
    if not data:
        return torch.empty(entry.shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).view(entry.shape).clone()


def frame(tensors: Mapping[str, torch.Tensor], text: str) -> bytes:
    """Return the frame with these tensors and this metadata."""
    # the specs carry bare addresses: `plain` keeps the memory alive until serialize has read it
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    specs = {
        name: TensorSpec(
            dtype=NAMES[value.dtype],
            shape=list(value.shape),
            data_ptr=value.data_ptr(),
            data_len=value.nbytes,
        )
        for name, value in plain.items()
    }
    return bytes(serialize(specs, {wire.META_KEY: text}))
