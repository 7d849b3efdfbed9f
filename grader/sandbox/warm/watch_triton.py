"""End the process where a Triton kernel touches memory that lies in none of the tensors it was given.

Triton's interpreter reads and writes whatever address a kernel works out.  What lies in front of a tensor or behind it
is another number in each process, so that a mistake of this kind passes a case today and fails it tomorrow.  A survey
of mistakes (`author/generate/survey.py`) has this imported in the warm process after Triton: there such a mistake is a
crash, as it may be on a GPU.  No learner's file is judged so, for a kernel may get addresses in other ways, too.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

Range = tuple[int, int]  # the first address, and the one behind the last


class Watch:
    """The memory of the tensors that the kernel launched last was given."""

    def __init__(self) -> None:
        self.ranges: list[Range] = []

    def launched_with(self, *given: Any) -> None:
        """Note the storages of all tensors among the arguments of a launch."""
        self.ranges = []
        for item in given:
            if hasattr(item, "untyped_storage"):
                storage = item.untyped_storage()
                self.ranges.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes()))

    def holds(self, pointers: Any, mask: Any, size: int) -> bool:
        """Whether `size` bytes from each pointer on lie in one of the tensors, where the mask (if any) is true."""
        at = np.asarray(pointers, np.uint64)
        if mask is not None:
            at = at[np.broadcast_to(np.asarray(mask, bool), at.shape)]
        if not at.size:
            return True
        first, last = int(at.min()), int(at.max()) + size
        if any(start <= first and last <= end for start, end in self.ranges):
            return True
        inside = np.zeros(at.shape, bool)
        for start, end in self.ranges:
            inside |= (at >= start) & (at + np.uint64(size) <= end)
        return bool(inside.all())


def watch_triton() -> None:
    """Patch the interpreter that is imported here."""
    module: Any = importlib.import_module("triton.runtime.interpreter")
    watch = Watch()
    launching, builder = module.GridExecutor, module.InterpreterBuilder
    given = launching._init_args_hst

    def given_on_the_cpu(self: Any, *words: Any) -> Any:
        args, named = given(self, *words)
        watch.launched_with(*args, *named.values())
        return args, named

    launching._init_args_hst = given_on_the_cpu
    # where a method has its pointers, and its mask if there is one
    for name, pointers, mask in (
        ("create_masked_load", 0, 1),
        ("create_masked_store", 0, 2),
        ("create_atomic_cas", 0, None),
        ("create_atomic_rmw", 1, 3),
    ):
        setattr(builder, name, _watched(getattr(builder, name), watch, pointers, mask))


def _watched(
    method: Callable[..., Any], watch: Watch, pointers: int, mask: int | None
) -> Callable[..., Any]:
    def call(self: Any, *words: Any) -> Any:
        item = words[pointers]
        size = item.get_element_ty().primitive_bitwidth // 8
        if not watch.holds(item.data, None if mask is None else words[mask].data, max(1, size)):
            os._exit(1)
        return method(self, *words)

    return call


watch_triton()
