"""A patch of Triton's CPU interpreter that makes it quicker, put on in the fork server before any submission is there.

When one jit function calls another, Triton patches its own module `triton.language` again, so that operations are
done by the interpreter and not compiled. That costs more than most calls, and once for every launch of a kernel is
enough:

    kernel[grid](...)     patches `triton.language`
      helper(...)         Triton: patches it again        here: calls the function, since this launch patched it
      already

Answers do not change. A version of Triton that does not have the names used here is left as it is.
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
    """Return the ids of the language modules that a function uses; they are kept with the function."""
    known = fn.__dict__.get("_languages")
    if known is None:
        names = ("triton.language", "triton.language.core")
        seen = [value for value in fn.__globals__.values() if inspect.ismodule(value)]
        known = fn._languages = {id(value) for value in seen if value.__name__ in names}
    return known  # type: ignore[no-any-return]
