"""2a-11: Hooks to run at exit, after the verdict."""

import atexit
import os

atexit.register(lambda: os.write(1, b"ESCAPED at exit"))
