"""Beside a submission, in its worker: see what Triton's functions are given and return while they are interpreted.

Sent with the recorder.  Compiled kernels are left alone: only the interpreter's functions can be looked into.
"""

from collections.abc import Callable
from typing import Any

import torch


class Seen:
    """Stands for an interpreted function: it can be called by another one, and launched over a grid."""

    def __init__(self, function: Any, recorder: Any, name: str) -> None:
        self.function, self.recorder, self.name = function, recorder, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it from another function of the device."""
        self.recorder.entered(self.name, lambda: [plain(item) for item in args])
        result = self.function(*args, **kwargs)
        self.recorder.returned(self.name, lambda: plain(result))
        return result

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        """Return what launches it; afterwards the arguments it writes to are its result."""
        launch = self.function[grid]

        def launched(*args: Any, **kwargs: Any) -> Any:
            result = launch(*args, **kwargs)
            given = {**dict(zip(self.function.arg_names, args, strict=False)), **kwargs}
            self.recorder.returned(self.name, lambda: self.recorder.written(self.name, given))
            return result

        return launched

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


def interpreted(item: Any) -> bool:
    """Whether something is a function that Triton interprets."""
    return type(item).__name__ == "InterpretedFunction"


def plain(value: Any) -> Any:
    """Return the interpreter's values as tensors, and None for pointers, which differ from run to run."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    handle = getattr(value, "handle", None)
    if handle is None:
        return getattr(value, "value", value)
    data, sort = handle.data, str(handle.get_element_ty())
    if "*" in str(handle.dtype) or "pointer" in str(handle.dtype):
        return None
    if sort == "bf16":
        return torch.from_numpy(data.astype("int16")).view(torch.bfloat16)
    return torch.from_numpy(data.copy()) if data.dtype.kind in "bif" else str(data)
