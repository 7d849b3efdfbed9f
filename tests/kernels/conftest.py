"""Kernels run in Triton's interpreter here.

The interpreter patches `triton.language` again at every call of a helper, which is most of its time.
Once per launch is enough, since nothing undoes it before the launch ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from triton.runtime import interpreter


@pytest.fixture(autouse=True, scope="session")
def _patch_once_per_launch() -> Iterator[None]:
    original = interpreter.InterpretedFunction.__call__
    patched: set[int] = set()

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if id(self.fn.__globals__) in patched:
            return self.rewrite()(*args, **kwargs)
        patched.add(id(self.fn.__globals__))
        return original(self, *args, **kwargs)

    interpreter.InterpretedFunction.__call__ = call
    yield
    interpreter.InterpretedFunction.__call__ = original
