"""2a-10: Takes over every signal with a handler that exits 0, then crashes."""

import contextlib
import ctypes
import os
import signal

for number in signal.valid_signals():
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, lambda *a: os._exit(0))
ctypes.string_at(0)
