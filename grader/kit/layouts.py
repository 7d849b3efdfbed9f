"""Layouts in memory that a case may ask for: the same numbers as a view of something larger; worker side, uses torch.

A correct file gives the same answer for every layout.  What it writes into a view is written into the input that was
sent, so that a changed input is seen whatever its layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from grader.kit.answers import Wrong

AROUND = 7  # what lies between and around the numbers


def _strided(x: Any) -> Any:
    """Every second number of a larger memory."""
    wide = x.new_full((*x.shape, 2), AROUND)
    return wide[..., 0].copy_(x)


def _window(x: Any) -> Any:
    """A part from the middle of larger axes."""
    larger = x.new_full([n + 3 for n in x.shape], AROUND)
    return larger[tuple(slice(1, n + 1) for n in x.shape)].copy_(x)


def _swapped(x: Any) -> Any:
    """The two axes before the last one the other way round in memory, as a transposed view has them."""
    return x.transpose(-3, -2).contiguous().transpose(-3, -2) if x.dim() > 2 else _strided(x)


def _turned(x: Any) -> Any:
    """All axes the other way round in memory, so that no two of them can be joined into one."""
    order = tuple(reversed(range(x.dim())))
    return x.permute(order).contiguous().permute(order)


LAYOUTS: Mapping[str, Callable[[Any], Any]] = {
    "strided": _strided,
    "window": _window,
    "swapped": _swapped,
    "turned": _turned,
}


@contextmanager
def laid_out(arguments: dict[str, Any], wanted: Mapping[str, str]) -> Iterator[None]:
    """Let these arguments, a tensor, or a tuple or dictionary of them, lie in memory as wanted during a call."""
    pairs: list[tuple[str, Any, Any]] = []

    def view(name: str, sent: Any) -> Any:
        if isinstance(sent, tuple):
            return tuple(view(name, part) for part in sent)
        if isinstance(sent, Mapping):
            return {key: view(name, part) for key, part in sent.items()}
        if not hasattr(sent, "new_full"):
            return sent
        pairs.append((name, sent, LAYOUTS[wanted[name]](sent)))
        return pairs[-1][2]

    arguments |= {name: view(name, arguments[name]) for name in wanted if name in arguments}
    try:
        yield
    finally:  # also of a call that is refused: it must not have changed anything
        for _, sent, seen in pairs:
            if seen.shape == sent.shape:
                sent.copy_(seen.detach())
    for name, sent, seen in pairs:
        if seen.shape != sent.shape:
            raise Wrong("mutated_input", f"the call changed the shape of `{name}`")
