"""Describe, in the worker, what went wrong in the submission: an exception, or an answer of the wrong structure.

It runs after learner code, so an exception's `__str__` may hang, which the clock covers, or be of any length, so
all text is cut.
"""

from __future__ import annotations

import builtins
import errno
from collections.abc import Sequence

from grader.kit.answers import Wrong
from grader.sandbox.environment import ABSENT
from grader.sandbox.layers.rlimits import FILE_BYTES, FILES
from grader.sandbox.protocol.codec import ProblemText, RaisedText

MESSAGE = 2000
REFUSED = (errno.EPERM, errno.EACCES)
TOO_MANY = {errno.EDQUOT, errno.EFBIG}
LIMIT = f" (a submission may make {FILES} files, of at most {FILE_BYTES >> 20} MiB each)"
NO_FOLDER = " (there is no folder to write into here)"


def problem(error: Wrong) -> ProblemText:
    """Return a driver's complaint as it is sent."""
    name = None if error.name is None else _clean(error.name, 256)
    return ProblemText(_clean(error.kind, 256), _clean(error.message, MESSAGE), name)


def raised(
    error: BaseException, filename: str, lines: Sequence[str], *, isolated: bool
) -> RaisedText:
    """Return an exception as it is sent, with the last line of the submission that it went through.

    torch tells of memory that it cannot get as a RuntimeError; it is sent as a MemoryError.
    """
    message = _message(error)
    types = [_name(cls) for cls in type.mro(type(error)) if cls is not object][:31]
    if "MemoryError" not in types and "allocate memory" in message:
        types.insert(0, "MemoryError")
    line = _line(error, filename)
    text = lines[line - 1].strip() if line is not None and 0 < line <= len(lines) else ""
    refused = False
    for item in _chain(error) if isolated else ():
        refused = refused or _refused(item)
        if isinstance(item, OSError) and (why := _why(item)):
            message += why
            refused = True
            break
    return RaisedText(types, message, line, _clean(text, 200), refused)


def _name(cls: type) -> str:
    name = type.__getattribute__(cls, "__name__")
    if getattr(builtins, name, None) is cls:
        return _clean(name, 256)
    return _clean(f"{cls.__module__}.{name}", 256)


def _message(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return _clean(error.msg, MESSAGE)
    try:
        return _clean(str(error), MESSAGE)
    except BaseException:
        return "(its message cannot be shown)"


def _line(error: BaseException, filename: str) -> int | None:
    found = None
    if isinstance(error, SyntaxError) and error.filename == filename:
        found = error.lineno
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    item: BaseException | None = error
    while item is not None and len(chain) < 8:
        chain.append(item)
        item = item.__cause__ or item.__context__
    return chain


def _refused(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in REFUSED
    return isinstance(error, RuntimeError) and "can't start new thread" in _message(error)


def _why(error: OSError) -> str:
    """Explain a refusal that an honest file could meet."""
    if error.errno in TOO_MANY:
        return LIMIT
    name = error.filename
    nowhere = error.errno == errno.ENOENT and isinstance(name, str) and name.startswith(ABSENT)
    return NO_FOLDER if nowhere else ""


def _clean(text: object, size: int) -> str:
    return str(text)[:size].encode("utf-8", "backslashreplace").decode()[: 2 * size]
