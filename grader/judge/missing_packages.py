"""Find out whether this machine lacks a package that a challenge needs.

If it does, nothing is run: all cases are skipped, each with the reason, and the verdict is `error`.
"""

from __future__ import annotations

import importlib.util
import platform
from importlib import metadata

from grader.content import Challenge


def missing_package(challenge: Challenge) -> str | None:
    """Return the first package of `preload` that cannot be imported here, without importing any."""
    for module in challenge.preload:
        name = module.partition(".")[0]
        if importlib.util.find_spec(name) is None:
            return name
    return None


def reason(package: str) -> str:
    """Say what is missing and what to do."""
    where = "; there are builds for Linux only" if package == "triton" else ""
    return f"`{package}` is not installed here (pip install -c constraints.txt {package}{where})."


def versions() -> dict[str, str | None]:
    """Return the versions a result states, read from the installed packages."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("torch", "triton"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
