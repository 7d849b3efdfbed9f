"""Tensors on their way through the worker: inputs out of a request, outputs into a reply.

Names in a frame are flat, with slashes; drivers see nested dictionaries: `cache/key` is `cache["key"]`. An input
has memory of its own, so that a file which writes beyond one reaches no other. An output must be a dense tensor of
a plain dtype; a subclass that lies about itself is turned into the plain bytes it holds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
from safetensors import TensorSpec, serialize

from grader.ground.arrays import DTYPES
from grader.kit.answers import Wrong
from grader.sandbox.protocol import codec, frames

NAMES = {getattr(torch, name): name for name in DTYPES.values()}
SLACK = 64 << 10
TYPES = {tag: getattr(torch, name) for tag, name in DTYPES.items()}


class Inputs:
    """The tensors of a request on the device of the run, and their bytes, to see which ones a call changed."""

    def __init__(self, frame: frames.Frame, device: str) -> None:
        self._device = device
        self._sent = {
            name: _Sent(entry.shape, frame.data(entry), TYPES[entry.dtype], device)
            for name, entry in frame.tensors.items()
        }
        self.tensors = {name: sent.tensor for name, sent in self._sent.items()}

    def add(self, name: str, value: torch.Tensor) -> None:
        """Make one more input out of a tensor on the CPU."""
        dense = value.contiguous()
        data = ctypes.string_at(dense.data_ptr(), dense.nbytes)
        self._sent[name] = sent = _Sent(dense.shape, data, dense.dtype, self._device)
        self.tensors[name] = sent.tensor

    def changed(self, spared: Container[str]) -> dict[str, torch.Tensor]:
        """Return the inputs that are not as they were, except those whose top name is in `spared`.

        One that was resized in place comes back empty: that shows the change, and is never too large to send.
        """
        return {
            name: sent.shown()
            for name, sent in self._sent.items()
            if name.split("/")[0] not in spared and not sent.kept()
        }


class _Sent:
    """One input: the tensor that a call may have changed in place, and what it was."""

    def __init__(self, shape: Sequence[int], data: bytes, dtype: torch.dtype, device: str) -> None:
        made = torch.empty(shape, dtype=dtype)
        ctypes.memmove(made.data_ptr(), data, len(data))
        self.tensor = made if device == "cpu" else made.to(device)
        self._data, self._dtype = data, dtype
        self._shape, self._address = self.tensor.shape, self.tensor.data_ptr()

    def kept(self) -> bool:
        """Whether it is certain that nothing was changed; on another device the grader compares."""
        value, address = self.tensor, self._address
        in_place = (
            value.data_ptr() == address
            and value.shape == self._shape
            and value.dtype is self._dtype
            and value.is_contiguous()
            and value.is_cpu
        )
        return in_place and ctypes.string_at(address, len(self._data)) == self._data

    def shown(self) -> torch.Tensor:
        """Return what to send back: nothing of what is no longer a tensor that can be sent."""
        value = self.tensor
        dense = value.dtype in NAMES and value.layout == torch.strided
        if not dense or value.nbytes > len(self._data):
            return torch.empty(0, dtype=self._dtype)
        return value.detach().cpu().contiguous()


def frame(tensors: Mapping[str, torch.Tensor], text: str) -> bytes:
    """Return the frame with these tensors, contiguous and on the CPU, and this metadata."""
    specs = {
        name: TensorSpec(
            dtype=NAMES[value.dtype],
            shape=list(value.shape),
            data_ptr=value.data_ptr(),
            data_len=value.nbytes,
        )
        for name, value in tensors.items()
    }
    return bytes(serialize(specs, {frames.META_KEY: text}))


def nest(*flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn names with slashes into nested dictionaries.

    >>> nest({"cache/key": 1, "x": 2}, {"cache/value": 3})
    {'cache': {'key': 1, 'value': 3}, 'x': 2}
    """
    root: dict[str, Any] = {}
    for mapping in flat:
        for path, value in mapping.items():
            *parents, name = path.split("/")
            place = root
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
    return root


class Answer:
    """What a verb returned, flattened: scalars in `values`, tensors in `tensors`; or the fault in their place.

    `room` is the number of bytes that its tensors may have, None for any: one that is far larger is told as a wrong
    shape before it is copied.
    """

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.values: dict[str, Any] = {}
        self.tensors: dict[str, torch.Tensor] = {}
        self.raised: codec.RaisedText | None = None
        self.problem: codec.ProblemText | None = None

    def clear(self) -> None:
        """Forget what a call that failed had returned so far."""
        self.values, self.tensors = {}, {}

    def add(self, name: str, value: Any) -> None:
        """Take one output, or a dictionary of them."""
        if isinstance(value, torch.Tensor):
            self.tensors[name] = self._plain(name, value)
        elif isinstance(value, dict):
            for key, item in dict.items(value):
                self.add(f"{name}/{key}" if name else str(key), item)
        else:
            self.values[name] = frames.to_json(_scalars(name, value))

    def _plain(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        dense = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_nested)
        if not dense or tensor.device.type == "meta" or tensor.dtype not in NAMES:
            raise Wrong("wrong_dtype", f"`{name}` is {_looks(tensor)}, not a dense tensor")
        size = tensor.numel() * tensor.element_size()
        if self.room is not None:
            self.room -= size
            if self.room < -SLACK:
                shape = list(tensor.shape)
                raise Wrong("wrong_shape", f"`{name}` has shape {shape}, far larger than expected")
        plain = tensor.detach()
        if type(plain) is not torch.Tensor:
            plain = plain.as_subclass(torch.Tensor)
        return plain.resolve_neg().cpu().contiguous()


def _looks(tensor: torch.Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    layout = str(tensor.layout).removeprefix("torch.")
    return f"a {kind} tensor ({layout}, on {tensor.device.type})"


def _scalars(name: str, value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list | tuple):
        return [_scalars(name, item) for item in value]
    for base in (int, float, str):
        if isinstance(value, base):
            return base(value)
    raise Wrong(
        "wrong_dtype", f"`{name}` is of type {type(value).__name__}, a torch.Tensor was expected"
    )
