"""What a worker may read: Python's own trees and the system's libraries, never this repository."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from grader.ground.paths import ROOT
from grader.sandbox.layers.landlock import READ, READ_DIR, READ_FILE, WRITE_FILE

HIDDEN = tuple(
    ROOT / name
    for name in ("grader", "reference", "kernels", "challenges", "tests", "benchmarks", "docs")
)
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
SINGLE = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/zero",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)


def python_trees() -> set[str]:
    """Return the directories of the interpreter, its standard library and its packages."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = {sysconfig.get_path(name) for name in names}
    paths |= {os.path.join(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix)}
    return {os.path.realpath(path) for path in paths}


def rights() -> dict[str, int]:
    """Return the Landlock rights of every path a worker may touch."""
    granted: dict[str, int] = {}
    for tree in {*python_trees(), *SYSTEM}:
        granted |= without_hidden(Path(os.path.realpath(tree)), HIDDEN)
    granted |= dict.fromkeys(SINGLE, READ)
    granted["/dev/null"] = READ_FILE | WRITE_FILE
    return granted


def without_hidden(tree: Path, hidden: tuple[Path, ...]) -> dict[str, int]:
    """Grant a tree, or entry by entry where something hidden lies in it."""
    if tree in hidden:
        return {}
    if not any(path.is_relative_to(tree) for path in hidden):
        return {str(tree): READ}
    granted = {str(tree): READ_DIR}
    for entry in tree.iterdir():
        if not entry.is_symlink():
            granted |= without_hidden(entry, hidden)
    return granted
