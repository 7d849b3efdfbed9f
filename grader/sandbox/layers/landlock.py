"""Landlock by ctypes: a ruleset of readable trees, made once and entered by every worker.

Everything not named is neither readable nor writable. It knows system calls, not policies.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

CREATE, ADD, RESTRICT = 444, 445, 446  # the same numbers on every 64-bit architecture
WRITE_FILE, READ_FILE, READ_DIR = 2, 4, 8
READ = READ_FILE | READ_DIR
FILE_RIGHTS = WRITE_FILE | READ_FILE
# file-system rights the kernel can restrict, by ABI: 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV
HANDLED = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("fs", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


def checked(result: int, what: str) -> int:
    """Return a system call's result, or raise OSError naming the call."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def abi() -> int:
    """Ask the kernel which Landlock it has; 0 for none."""
    version: int = _libc.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(0, version)


def ruleset(rights: Mapping[str, int], version: int) -> int:
    """Return the descriptor of a ruleset that grants `rights` beneath each path."""
    handled = HANDLED[min(version, 5)]
    # ABI 4 restricts TCP bind and connect, ABI 6 abstract sockets and signals
    attribute = _Ruleset(handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    fd = checked(
        _libc.syscall(CREATE, ctypes.byref(attribute), ctypes.c_size_t(size), ctypes.c_uint32(0)),
        "landlock_create_ruleset",
    )
    for path, right in rights.items():
        _grant(fd, path, right)
    return fd


def _grant(ruleset_fd: int, path: str, right: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what cannot be opened now cannot be opened by the worker either
    try:
        rule = _Beneath(right if os.path.isdir(path) else right & FILE_RIGHTS, fd)
        checked(_libc.syscall(ADD, ruleset_fd, 1, ctypes.byref(rule), 0), "landlock_add_rule")
    finally:
        os.close(fd)


def enter(ruleset_fd: int) -> None:
    """Confine the calling thread for good; needs no_new_privs."""
    checked(_libc.syscall(RESTRICT, ruleset_fd, 0), "landlock_restrict_self")
