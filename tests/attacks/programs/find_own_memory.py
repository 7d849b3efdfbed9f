"""2b-21: Reads its own memory map and memory."""

import os

attempt("read own maps", lambda: open("/proc/self/maps").read())
attempt("read own memory", lambda: open("/proc/self/mem", "rb").read(1))
