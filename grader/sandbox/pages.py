"""Make forking cheap: few, large, quiet pages in the warm process.

A fork and an exit cost one step per page-table entry. Huge pages take most of the entries away;
freezing the collector keeps its bookkeeping from touching pages the children share.
"""

from __future__ import annotations

import ctypes
import gc

HUGE = 2 << 20
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25

_libc = ctypes.CDLL(None, use_errno=True)


def settle() -> None:
    """Collect garbage, freeze the rest, and fold private memory into huge pages where possible."""
    gc.collect()
    gc.freeze()
    with open("/proc/self/maps", encoding="ascii", errors="replace") as file:
        lines = file.read().splitlines()
    for line in lines:
        span, rights, _, _, _, *name = line.split()
        if rights.startswith("rw") and (not name or name[0].startswith(("[heap", "[anon"))):
            start, end = (int(number, 16) for number in span.split("-"))
            if end - start >= HUGE:
                _fold(start, end - start)


def _fold(start: int, size: int) -> None:
    # advice: a kernel without it refuses, and forks are slower
    for advice in (MADV_HUGEPAGE, MADV_COLLAPSE):
        _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)
