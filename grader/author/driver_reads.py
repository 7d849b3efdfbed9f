"""Find the files that a driver opens and that its challenge does not declare under `reads`.

The driver is loaded anew and its plan of every case is followed, while an audit hook notes each file that is opened.
Python calls such a hook for every `open`, whichever library makes the call.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

from grader.content import Challenge, ContentError
from grader.content.driver_loading import forget_drivers
from grader.judge.cost import estimate_cost

_opened: ContextVar[list[str] | None] = ContextVar("opened files", default=None)


def undeclared_reads(challenge: Challenge) -> list[str]:
    """Return the files of the checkout that the driver opens undeclared, by path from the root."""
    known = {*challenge.declared, _name(challenge.root, str(challenge.folder / "driver.py"))}
    cases = list(challenge.cases.values())  # read now, so that only what the driver opens is noted
    forget_drivers()  # a module that is loaded already would not read its files again
    with files_opened() as opened:
        for case in cases:
            try:
                estimate_cost(challenge, case)
            except ContentError:
                continue  # reported by the check of the recipes
    names = {_name(challenge.root, path) for path in opened}
    return sorted(name for name in names - known if name)


@contextmanager
def files_opened() -> Iterator[list[str]]:
    """Give a list to which every file is added that this thread opens before the block ends."""
    _install_hook()
    opened: list[str] = []
    token = _opened.set(opened)
    try:
        yield opened
    finally:
        _opened.reset(token)


@lru_cache(maxsize=1)
def _install_hook() -> None:
    """Install the hook once: Python has no way to take one away."""
    sys.addaudithook(_note)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open":
        return
    opened = _opened.get()
    if opened is not None and isinstance(arguments[0], str | bytes | os.PathLike):
        opened.append(os.path.abspath(os.fsdecode(arguments[0])))


def _name(root: Path, path: str) -> str:
    """Return the path of a content file from the root; empty for the engine, packages, caches and files elsewhere."""
    if path.endswith(".pyc") and "__pycache__" in path:
        path = importlib.util.source_from_cache(path)
    place = Path(os.path.realpath(path))
    top = Path(os.path.realpath(root))
    if not place.is_relative_to(top):
        return ""
    parts = place.relative_to(top).parts
    engine = not parts or parts[0] == "grader" or any(part.startswith(".") for part in parts)
    return "" if engine or not place.is_file() else "/".join(parts)
