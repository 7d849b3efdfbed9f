"""The layer `landlock`: a worker can read Python's own folders and the system's libraries, and nothing else.

The fork server makes a ruleset for every worker's folder: readable folders, and this one to write into. A worker
enters the one for its own. What is not named can neither be opened nor listed, and nothing else can be written. A
kernel without Landlock is met by seccomp, which then allows no file at all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from grader.ground.paths import ROOT
from grader.sandbox.environment import python_folders
from grader.sandbox.layers.layer import Attempt, Budget, Folder, Layer, Places, checked, libc

with contextlib.suppress(ImportError):  # not on Windows, where nothing is run
    import fcntl

CREATE, ADD, RESTRICT = 444, 445, 446  # the same numbers on every 64-bit architecture
WRITE_FILE, READ_FILE, READ_DIR = 2, 4, 8
READ = READ_FILE | READ_DIR
# make and remove files and folders, no devices, pipes, sockets or links; the last one is TRUNCATE, from ABI 3 on
OWN = READ | WRITE_FILE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 14
FILE_RIGHTS = WRITE_FILE | READ_FILE
# file-system rights the kernel can restrict, by ABI: 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV
HANDLED = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
ABOVE = 16  # descriptors below are those that a worker arranges for itself

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


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("fs", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


class Landlock(Layer):
    """Hides the file system from a submission, but for what a Python program needs."""

    name = "landlock"
    summary = (
        "reading Python's own folders and the system's libraries, nothing of this repository;"
        " writing into an empty folder of its own"
    )
    missing = (
        "Landlock is missing here, so submissions run without opening any file:"
        " imports beyond torch and what it loads will fail, and so will temporary files. Linux 5.13 or newer has it."
    )

    def __init__(self) -> None:
        self._abi = 0
        self._readable: dict[str, int] = {}
        self._made: dict[
            int, int
        ] = {}  # rulesets by the mark of the folder that can be written; 0 for none

    @property
    def shown_as(self) -> tuple[str, ...]:
        """With the version of the kernel's interface."""
        return ("landlock-abiN",)

    def available(self) -> int:
        """Return the version of the kernel's interface."""
        version: int = libc().syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
        return max(0, version)

    def build(self, available: Mapping[str, int]) -> bytes:
        """Return the version to use."""
        return str(available[self.name]).encode()

    def prepare(self, part: bytes) -> None:
        """Find out what can be read, and make the ruleset for a worker without a folder."""
        self._abi = int(part)
        self._readable = readable()
        self.admit(None)

    def admit(self, folder: Folder | None) -> None:
        """Have the ruleset for this folder ready; a rule holds for a folder whatever its name."""
        mark = folder.mark if folder else 0
        if mark not in self._made:
            own = {folder.path: OWN} if folder else {}
            made = ruleset(self._readable | own, self._abi)
            self._made[mark] = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, ABOVE)
            os.close(made)
        self.descriptors = (self._made[mark],)

    def forget(self, folder: Folder) -> None:
        """Close the ruleset of a folder that is gone."""
        if (made := self._made.pop(folder.mark, None)) is not None:
            os.close(made)

    def enter(self, budget: Budget) -> str:
        """Enter the ruleset; needs `no_new_privs`."""
        (fd,) = self.descriptors
        checked(libc().syscall(RESTRICT, fd, 0), "landlock_restrict_self")
        os.close(fd)
        return f"landlock-abi{self._abi}"

    def attempts(self, places: Places) -> Iterator[Attempt]:
        """Read, list and write what a worker has no business with."""
        parent = os.getppid()
        for path in places.files:
            yield f"read {path}", partial(_open, path, "rb")
        for path in places.folders:
            yield f"list {path}", partial(os.listdir, path)
        yield f"write {places.target}", partial(_open, places.target, "wb")
        yield f"make {places.folder}", partial(os.mkdir, places.folder)
        for name in ("environ", "mem"):
            yield f"read its parent's {name}", partial(_open, f"/proc/{parent}/{name}", "rb")


def _open(path: str, mode: str) -> None:
    open(path, mode).close()


def ruleset(rights: Mapping[str, int], version: int) -> int:
    """Return the descriptor of a ruleset that grants `rights` beneath each path."""
    handled = HANDLED[min(version, 5)]
    # ABI 4 restricts TCP bind and connect, ABI 6 abstract sockets and signals
    attribute = _Ruleset(handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    fd = checked(
        libc().syscall(CREATE, ctypes.byref(attribute), ctypes.c_size_t(size), ctypes.c_uint32(0)),
        "landlock_create_ruleset",
    )
    for path, right in rights.items():
        _grant(fd, path, right, handled)
    return fd


def _grant(ruleset_fd: int, path: str, right: int, handled: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what cannot be opened now cannot be opened by the worker either
    try:
        right &= handled
        rule = _Beneath(right if os.path.isdir(path) else right & FILE_RIGHTS, fd)
        checked(libc().syscall(ADD, ruleset_fd, 1, ctypes.byref(rule), 0), "landlock_add_rule")
    finally:
        os.close(fd)


def readable() -> dict[str, int]:
    """Return the Landlock rights of every path that a worker may touch: a folder's hold for all that lies beneath."""
    granted: dict[str, int] = {}
    for tree in {*python_folders(), *SYSTEM}:
        granted |= without_hidden(Path(os.path.realpath(tree)), HIDDEN)
    granted |= dict.fromkeys(SINGLE, READ)
    granted["/dev/null"] = READ_FILE | WRITE_FILE
    return granted


def without_hidden(tree: Path, hidden: tuple[Path, ...]) -> dict[str, int]:
    """Grant a folder, or entry by entry where something hidden lies in it: Landlock cannot take a part out again."""
    if tree in hidden:
        return {}
    if not any(path.is_relative_to(tree) for path in hidden):
        return {str(tree): READ}
    granted = {str(tree): READ_DIR}
    for entry in tree.iterdir():
        if not entry.is_symlink():
            granted |= without_hidden(entry, hidden)
    return granted
