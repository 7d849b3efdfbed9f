"""What works differently in workers, so that a right file is not refused for where it runs; done once, by the warm-up.

- `torch.compile` gives back what it is given: compiling takes a C++ compiler and processes, which no worker has. A
  compiled function is one that computes the same faster, so answers do not change.
- A `threading.Timer` that cannot be started never fires: matplotlib starts one at import, to warn if that takes long.
"""

from __future__ import annotations

import functools
import inspect
import threading
from typing import Any

import torch


def stand_in() -> None:
    """Replace what workers cannot do."""
    torch.compile = _uncompiled(torch.compile)
    threading.Timer.start = _start_if_possible(threading.Timer.start)  # type: ignore[method-assign]


def _uncompiled(original: Any) -> Any:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def compile(model: Any = None, **options: Any) -> Any:
        signature.bind(model, **options)
        if options.get("mode") is not None and options.get("options") is not None:
            raise RuntimeError(
                "Either mode or options can be specified, but both can't be specified at the same time."
            )
        return (lambda function: function) if model is None else model

    return compile


def _start_if_possible(original: Any) -> Any:
    @functools.wraps(original)
    def start(self: Any) -> None:
        try:
            original(self)
        except RuntimeError as error:
            if "can't start new thread" not in str(error):
                raise

    return start
