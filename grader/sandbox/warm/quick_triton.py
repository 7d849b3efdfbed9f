"""Make the CPU interpreter of the Triton that is imported quicker; answers do not change.

Triton's interpreter does much again that it has done already, or whose outcome nobody looks at.  Each function here
patches one such thing, and leaves a version of Triton as it is that does not have the names it uses.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from types import CodeType
from typing import Any


def quicken_triton() -> None:
    """Patch the interpreter, where it is imported."""
    module: Any = sys.modules.get("triton.runtime.interpreter")
    if module is not None:
        _patch_the_language_once_a_launch(module)
        _transform_a_function_once(module)
        _skip_sums_that_nobody_looks_at(module)
        _look_up_dtypes(module)


def _patch_the_language_once_a_launch(module: Any) -> None:
    """Let one launch patch `triton.language` once.

    When one jit function calls another, Triton patches its own module `triton.language` again, so that operations are
    done by the interpreter and not compiled. That costs more than most calls, and once for every launch is enough:

        kernel[grid](...)     patches `triton.language`
          helper(...)         Triton patches it again; here the function is called, for this launch patched it already
    """
    function: Any = getattr(module, "InterpretedFunction", None)
    executor: Any = getattr(module, "GridExecutor", None)
    if not (_has(function, "rewrite", "__call__") and _has(executor, "__call__")):
        return
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


def _languages(fn: Any) -> set[int]:
    """Return the ids of the language modules that a function uses; they are kept with the function."""
    known = fn.__dict__.get("_languages")
    if known is None:
        names = ("triton.language", "triton.language.core")
        seen = [value for value in fn.__globals__.values() if inspect.ismodule(value)]
        known = fn._languages = {id(value) for value in seen if value.__name__ in names}
    return known  # type: ignore[no-any-return]


def _transform_a_function_once(module: Any) -> None:
    """Keep the syntax tree that Triton makes of a jit function, by the function's very code object.

    A worker executes a file anew for every case; its functions are other objects then, of the same code.
    """
    rewriter: Any = getattr(module, "FunctionRewriter", None)
    if not _has(rewriter, "rewrite_ast", "_transform_ast", "_compile_and_exec"):
        return
    slow, slow_transform = rewriter.rewrite_ast, rewriter._transform_ast
    # the code is kept, too, so that no other object can have its id
    known: dict[int, tuple[CodeType, str, Any]] = {}

    def transform(self: Any, source: str) -> Any:
        tree, code = slow_transform(self, source), self.fn.__code__
        known[id(code)] = code, self.filename, tree
        return tree

    def rewrite(self: Any) -> Any:
        if id(self.fn.__code__) not in known:
            return slow(self)
        _, self.filename, tree = known[id(self.fn.__code__)]
        return self._compile_and_exec(tree)

    rewriter.rewrite_ast, rewriter._transform_ast = rewrite, transform


def _skip_sums_that_nobody_looks_at(module: Any) -> None:
    """Leave out the second sum of every addition, in int64, which is compared in debug mode alone."""
    builder: Any = getattr(module, "interpreter_builder", None)
    options: Any = getattr(builder, "options", None)
    if _has(options, "sanitize_overflow", "debug") and not options.debug:
        builder.options = replace(options, sanitize_overflow=False)


def _look_up_dtypes(module: Any) -> None:
    """Keep the numpy dtype of each dtype of Triton, of which a table is made for every look."""
    slow: Any = getattr(module, "_get_np_dtype", None)
    if slow is None:
        return
    known: dict[str, Any] = {}

    def numpy_dtype(dtype: Any) -> Any:
        scalar = dtype.scalar  # of a block, what it is a block of
        if scalar.name not in known:
            known[scalar.name] = slow(scalar)
        return known[scalar.name]

    module._get_np_dtype = numpy_dtype


def _has(item: Any, *names: str) -> bool:
    return all(hasattr(item, name) for name in names)
