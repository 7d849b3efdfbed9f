"""Import a challenge's driver in the grader; content is trusted, learners' files never come here."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

from grader.content.content_errors import ContentError
from grader.kit.mistakes import DriverError
from grader.kit.trusted_side import Plan


@lru_cache
def load_driver(path: Path) -> type[Plan]:
    """Return the `Plan` of a driver, whose `driver` describes its verbs; it is checked once.

    Raises ContentError, with file and line, for a driver that cannot be imported or makes no sense.
    """
    plan = getattr(_imported(path), "Plan", None)
    if not (isinstance(plan, type) and issubclass(plan, Plan)):
        raise ContentError(f"{path}: its last line must be `Plan, Verbs = both_sides(globals())`")
    try:
        plan.driver.check()
    except DriverError as error:
        raise _told(path, error.line, error.message) from None
    return plan


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"driver_{path.parent.name}", path)
    assert spec is not None, f"{path} is a Python file"
    assert spec.loader is not None, f"{path} is a Python file"
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except DriverError as error:
        raise _told(path, error.line, error.message) from None
    except SyntaxError as error:
        raise _told(path, error.lineno, f"is no Python: {error.msg}") from None
    except Exception as error:
        told = f"cannot be loaded: {type(error).__name__}: {error}"
        raise _told(path, _line(error, path), told) from error
    return module


def _line(error: BaseException, path: Path) -> int | None:
    """Return the last line of the driver that an exception went through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _told(path: Path, line: int | None, message: str) -> ContentError:
    return ContentError(f"{path}:{line}: {message}" if line else f"{path}: {message}")
