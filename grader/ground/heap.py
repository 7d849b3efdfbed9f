"""The memory of a process that grades for hours; only glibc has to be told, and elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import sys

M_ARENA_MAX = -8  # of glibc's malloc.h


def share_one_heap() -> None:
    """Let all threads of this process take their memory from one heap, where the C library can be told so.

    Every grading has threads of its own, glibc gives each of them one of many heaps, and each heap keeps what a grading
    once took.
    """
    _tell_glibc("mallopt", M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Give what a grading has left unused in the heap back to the system.

    What stays lies between such pieces: 60 gradings of a file that passes grew by 10 MB, and by nothing with this.
    """
    _tell_glibc("malloc_trim", 0)


def _tell_glibc(function: str, *numbers: int) -> None:
    if sys.platform == "linux":
        found = getattr(ctypes.CDLL(None), function, None)  # musl has neither
        if found is not None:
            found(*numbers)
