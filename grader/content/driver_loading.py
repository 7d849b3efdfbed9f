"""Import a challenge's driver in the grader; content is trusted, learners' files never come here."""

from __future__ import annotations

import sys
import types
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from grader.content.catalogue import Challenge
from grader.content.content_errors import ContentError
from grader.kit.driver import Driver
from grader.kit.mistakes import DriverError
from grader.kit.trusted_side import Plan


def load_driver(challenge: Challenge) -> type[Plan]:
    """Return the `Plan` of a challenge's driver, whose `driver` describes its verbs.

    Raises ContentError, with file and line, for a driver that cannot be imported.
    """
    return _load(challenge.folder / "driver.py", challenge.driver)


def checked_driver(challenge: Challenge) -> Driver:
    """Return a driver whose declarations all make sense; else ContentError, with file and line.

    A grading leaves this to `kvdojo check`: without it, no golden fits the driver.
    """
    path = challenge.folder / "driver.py"
    driver = _load(path, challenge.driver).driver
    try:
        driver.check()
    except DriverError as error:
        raise _located(path, error.line, error.message) from None
    return driver


def forget_drivers() -> None:
    """Let every driver be executed anew when it is next asked for."""
    _load.cache_clear()


@lru_cache(64)
def _load(path: Path, text: bytes) -> type[Plan]:
    plan = execute_driver(path, text).get("Plan")
    if not (isinstance(plan, type) and issubclass(plan, Plan)):
        raise ContentError(f"{path}: its last line must be `Plan, Verbs = both_sides(globals())`")
    return plan


def execute_driver(path: Path, text: bytes) -> dict[str, Any]:
    """Return the names of a driver's module, such as `Plan` and `Verbs`; raises ContentError."""
    name = f"driver_{path.parent.name}_{sha256(text).hexdigest()[:8]}"
    module = sys.modules[name] = types.ModuleType(
        name
    )  # where Python looks for it to evaluate annotations
    module.__dict__.update(__file__=str(path), __source__=text.decode("utf-8", "replace"))
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    except DriverError as error:
        raise _located(path, error.line, error.message) from None
    except SyntaxError as error:
        raise _located(path, error.lineno, f"is no Python: {error.msg}") from None
    except Exception as error:
        told = f"cannot be loaded: {type(error).__name__}: {error}"
        raise _located(path, _line(error, path), told) from error
    return module.__dict__


def _line(error: BaseException, path: Path) -> int | None:
    """Return the last line of the driver that an exception went through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _located(path: Path, line: int | None, message: str) -> ContentError:
    return ContentError(f"{path}:{line}: {message}" if line else f"{path}: {message}")
