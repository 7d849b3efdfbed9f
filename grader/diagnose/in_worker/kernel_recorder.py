"""In the worker, beside a submission: record what Triton's functions are given and return while they are interpreted.

The text of this module is sent ahead of `recorder.py`, as part of one module with it; `Recorder.install` puts a
`KernelFunction` in the place of every interpreted function whose calls are wanted.  Compiled kernels are left alone:
only the interpreter's functions can be looked into.
"""

import sys
from collections.abc import Callable
from typing import Any, ClassVar

import torch


class KernelFunction:
    """Stands in for an interpreted function: it can be called by another one, and launched over a grid.

    Its calls are recorded under the name of the function.  Where the recorder's `wanted` has `caller>name`, such as
    `_decode>_dot`, calls from that caller are recorded under that longer name.
    """

    callers: ClassVar[list[str]] = []  # the names of all that are running, the innermost last

    def __init__(self, function: Any, recorder: Any, name: str) -> None:
        self.function, self.recorder, self.name = function, recorder, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it from another interpreted function, in one program of the grid."""
        name = f"{self.callers[-1]}>{self.name}" if self.callers else self.name
        name = name if name in self.recorder.wanted else self.name
        given = lambda: {at: as_tensors(item) for at, item in enumerate(args)}  # noqa: E731 - read only when it is wanted
        program = f"program {running_program()}"
        self.recorder.entered(name, given, program)
        result = self._within(self.function, args, kwargs)
        self.recorder.returned(name, lambda: as_tensors(result), program)
        self.recorder.stop_if_due()
        return result

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        """Return what launches it over a grid, and then records the arguments that it writes to as its result."""
        launch = self.function[grid]

        def launched(*args: Any, **kwargs: Any) -> Any:
            result = self._within(launch, args, kwargs)
            given = {**dict(zip(self.function.arg_names, args, strict=False)), **kwargs}
            self.recorder.returned(
                self.name, lambda: self.recorder.written_arguments(self.name, given)
            )
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


def is_interpreted(item: Any) -> bool:
    """Whether this is a function that Triton interprets."""
    return type(item).__name__ == "InterpretedFunction"


def running_program() -> str:
    """Return which program of the grid the interpreter is running, such as `1, 0, 0`; empty outside a kernel."""
    module = sys.modules.get("triton.runtime.interpreter")
    place = getattr(getattr(module, "interpreter_builder", None), "grid_idx", None)
    return ", ".join(map(str, place or ()))


def as_tensors(value: Any) -> Any:
    """Return the interpreter's values as tensors, and as text where torch has no such dtype.

    Pointers, which differ from run to run, become None.
    """
    if isinstance(value, tuple | list):
        return [as_tensors(item) for item in value]
    handle = getattr(value, "handle", None)
    if handle is None:
        return getattr(value, "value", value)
    data, sort = getattr(handle, "data", None), str(getattr(handle, "dtype", "pointer"))
    if data is None or "*" in sort or "pointer" in sort:
        return None
    if sort == "bf16":  # NumPy has none: the interpreter keeps the bits as uint16
        return torch.from_numpy(data.astype("int16")).view(torch.bfloat16)
    return torch.from_numpy(data.copy()) if data.dtype.kind in "bif" else str(data)
