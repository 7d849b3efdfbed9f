"""Beside a submission, in its worker: see what Triton's functions are given and return while they are interpreted.

Sent with the recorder.  Compiled kernels are left alone: only the interpreter's functions can be looked into.
"""

import sys
from collections.abc import Callable
from typing import Any, ClassVar

import torch


class Seen:
    """Stands for an interpreted function: it can be called by another one, and launched over a grid.

    Where `caller>name` is wanted of it, a call from there goes by that name.
    """

    callers: ClassVar[list[str]] = []

    def __init__(self, function: Any, recorder: Any, name: str) -> None:
        self.function, self.recorder, self.name = function, recorder, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it from another function of the device."""
        name = f"{self.callers[-1]}>{self.name}" if self.callers else self.name
        name = name if name in self.recorder.wanted else self.name
        given = lambda: {at: plain(item) for at, item in enumerate(args)}  # noqa: E731 - read only when it is wanted
        program = f"program {running()}"
        self.recorder.entered(name, given, program)
        result = self._within(self.function, args, kwargs)
        self.recorder.returned(name, lambda: plain(result), program)
        self.recorder.halt()
        return result

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        """Return what launches it; afterwards the arguments it writes to are its result."""
        launch = self.function[grid]

        def launched(*args: Any, **kwargs: Any) -> Any:
            result = self._within(launch, args, kwargs)
            given = {**dict(zip(self.function.arg_names, args, strict=False)), **kwargs}
            self.recorder.returned(self.name, lambda: self.recorder.written(self.name, given))
            return result

        return launched

    def _within(self, function: Any, args: Any, kwargs: Any) -> Any:
        self.callers.append(self.name)
        try:
            return function(*args, **kwargs)
        finally:
            self.callers.pop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


def interpreted(item: Any) -> bool:
    """Whether something is a function that Triton interprets."""
    return type(item).__name__ == "InterpretedFunction"


def running() -> str:
    """Say which program of the grid the interpreter is running."""
    module = sys.modules.get("triton.runtime.interpreter")
    place = getattr(getattr(module, "interpreter_builder", None), "grid_idx", None)
    return ", ".join(map(str, place or ()))


def plain(value: Any) -> Any:
    """Return the interpreter's values as tensors, and None for pointers, which differ from run to run."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    handle = getattr(value, "handle", None)
    if handle is None:
        return getattr(value, "value", value)
    data, sort = getattr(handle, "data", None), str(getattr(handle, "dtype", "pointer"))
    if data is None or "*" in sort or "pointer" in sort:
        return None
    if sort == "bf16":
        return torch.from_numpy(data.astype("int16")).view(torch.bfloat16)
    return torch.from_numpy(data.copy()) if data.dtype.kind in "bif" else str(data)
