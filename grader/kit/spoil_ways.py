"""Ways to spoil a tensor argument, for random scenarios and cases: another dtype, a row too many, an axis too few.

`ways("query", "key value", "past.2")` gives one entry of a verb's `spoils` for each argument and each way, such as
`query:half` or `past.2:one_row`.  Whether a spoiled call must be refused is for the reference to say: a random scenario
leaves those out that it accepts.  Worker side; uses the tensor's own methods alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from grader.kit.declare import Spoil


def ways(*arguments: str, only: str = "") -> dict[str, Spoil]:
    """Return spoils by name; the arguments of one text are spoiled alike, and `past.0` is a part of a tuple.

    `only` names the ways that make sense, separated by spaces; all of `WAYS` by default.
    """
    found: dict[str, Spoil] = {}
    for text in arguments:
        names = text.split()
        argument, _, part = names[0].partition(".")
        for way in only.split() or WAYS:
            change = partial(_change, WAYS[way], int(part) if part else None)
            found[f"{'+'.join(names)}:{way}"] = Spoil((argument, *names[1:]), change)
    return found


def _change(way: Callable[[Any], Any], part: int | None, x: Any) -> Any:
    if isinstance(x, tuple | list):
        return tuple(way(y) if part in (None, i) else y for i, y in enumerate(x))
    return way(x) if hasattr(x, "dim") else x


def _to(x: Any, name: str) -> Any:
    import torch

    finite = x.nan_to_num(0, 0, 0) if x.is_floating_point() else x
    return finite.to(getattr(torch, name))


def _other(x: Any) -> Any:
    return _to(x, "bfloat16" if str(x.dtype) == "torch.float32" else "float32")


def _cut(x: Any, axis: int, left: int | None = None) -> Any:
    size = x.shape[axis] if x.dim() > axis else 0
    return x.narrow(axis, 0, left if left is not None else size - 1) if size > 1 else x[None]


def _longer(x: Any, axis: int) -> Any:
    if x.dim() <= axis or not x.shape[axis]:
        return x[None]
    index = [*range(x.shape[axis]), 0]
    return x.index_select(axis, x.new_tensor(index).long())


WAYS: Mapping[str, Callable[[Any], Any]] = {
    "other_dtype": _other,
    "half": partial(_to, name="float16"),
    "double": partial(_to, name="float64"),
    "int64": partial(_to, name="int64"),
    "int16": partial(_to, name="int16"),
    "uint8": partial(_to, name="uint8"),
    "bool": partial(_to, name="bool"),
    "complex": partial(_to, name="complex64"),
    "extra_row": partial(_longer, axis=0),
    "one_row": partial(_cut, axis=0, left=1),
    "extra_head": partial(_longer, axis=1),
    "fewer_heads": partial(_cut, axis=1),
    "longer": partial(_longer, axis=2),
    "shorter": partial(_cut, axis=2),
    "wider": partial(_longer, axis=3),
    "narrower": partial(_cut, axis=3),
    "flat": lambda x: x[0] if x.dim() and len(x) else x[None],
    "deep": lambda x: x[None],
    "column": lambda x: x[..., None],
    "a_list": lambda x: x.tolist(),
}
