"""Preloaded in the place of torch's CUDA build: gigabytes of address space that are mapped and never touched."""

from __future__ import annotations

import ctypes
import mmap

SIZE = 6 << 30
PROT_NONE, MAP_NORESERVE = 0, 0x4000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
ADDRESS = _libc.mmap(
    None,
    ctypes.c_size_t(SIZE),
    PROT_NONE,
    mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE,
    -1,
    ctypes.c_long(0),
)
if ADDRESS in (None, ctypes.c_void_p(-1).value):
    raise MemoryError("the reservation was refused")
