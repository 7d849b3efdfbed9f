"""2a-10: A timer that ends the process with status 0 in the middle of a step."""

import os
import signal

signal.signal(signal.SIGALRM, lambda *a: os._exit(0))
try:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    escaped("set an interval timer")
except OSError:
    os._exit(0)
