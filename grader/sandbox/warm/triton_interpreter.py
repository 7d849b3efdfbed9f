"""Make Triton's CPU interpreter quicker, in trusted code, before any submission is there.

At every call of one jit function by another it patches `triton.language` anew, which costs more than the call itself;
once per launch is enough. Answers do not change. A Triton without these names is left as it is.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any


def quicken() -> None:
    """Patch the interpreter of the Triton that is already imported."""
    module: Any = sys.modules.get("triton.runtime.interpreter")
    if module is None or not _known(module):
        return
    function, executor = module.InterpretedFunction, module.GridExecutor
    slow_call, slow_launch = function.__call__, executor.__call__
    patched: set[int] = set()

    def launch(self: Any, *args: Any, **kwargs: Any) -> Any:
        patched.clear()
        return slow_launch(self, *args, **kwargs)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        modules = _languages(self.fn)
        if modules <= patched:
            return self.rewrite()(*args, **kwargs)
        patched.update(modules)
        return slow_call(self, *args, **kwargs)

    function.__call__, executor.__call__ = call, launch


def _known(module: Any) -> bool:
    function, executor = (getattr(module, n, None) for n in ("InterpretedFunction", "GridExecutor"))
    named = all(hasattr(function, name) for name in ("rewrite", "__call__"))
    return named and hasattr(executor, "__call__")  # noqa: B004


def _languages(fn: Any) -> set[int]:
    """Identify the language modules a function sees, kept with it."""
    known = fn.__dict__.get("_languages")
    if known is None:
        names = ("triton.language", "triton.language.core")
        seen = [value for value in fn.__globals__.values() if inspect.ismodule(value)]
        known = fn._languages = {id(value) for value in seen if value.__name__ in names}
    return known  # type: ignore[no-any-return]
