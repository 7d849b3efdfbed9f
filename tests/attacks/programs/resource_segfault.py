"""2e-65: A segmentation fault."""

import ctypes

ctypes.string_at(1)
