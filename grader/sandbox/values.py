"""Between nested dictionaries of a driver and the flat names of the wire; worker side, uses torch.

A tensor must be dense, on a plain dtype: whatever lies about itself is turned into plain bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from grader.ground.arrays import TAGS
from grader.sandbox import schema, wire
from grader.sandbox.driverkit import Wrong

DTYPES = {getattr(torch, name) for name in TAGS}
SLACK = 64 << 10


def nest(*flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `cache/key` names into nested dictionaries."""
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
    """What a verb returned, flattened: scalars in `values`, tensors in `tensors`."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.values: dict[str, Any] = {}
        self.tensors: dict[str, torch.Tensor] = {}
        self.raised: schema.RaisedText | None = None
        self.problem: schema.ProblemText | None = None

    def clear(self) -> None:
        """Forget what a failed call had returned so far."""
        self.values, self.tensors = {}, {}

    def add(self, name: str, value: Any) -> None:
        """Take one output, or a dictionary of them."""
        if isinstance(value, torch.Tensor):
            self.tensors[name] = self._plain(name, value)
        elif isinstance(value, dict):
            for key, item in dict.items(value):
                self.add(f"{name}/{key}" if name else str(key), item)
        else:
            self.values[name] = wire.to_json(_scalars(name, value))

    def _plain(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        dense = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_nested)
        if not dense or tensor.device.type == "meta" or tensor.dtype not in DTYPES:
            raise Wrong("wrong_dtype", f"`{name}` is {_looks(tensor)}, not a dense tensor")
        size = tensor.numel() * tensor.element_size()
        if self.room is not None:
            self.room -= size
            if self.room < -SLACK:
                shape = list(tensor.shape)
                raise Wrong("wrong_shape", f"`{name}` has shape {shape}, far larger than expected")
        return tensor.detach().as_subclass(torch.Tensor).resolve_neg().cpu().contiguous()


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
