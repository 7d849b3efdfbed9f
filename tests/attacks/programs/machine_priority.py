"""2f-73: Starves the others."""

import os

attempt("renice", lambda: os.nice(-5))
attempt("pin", lambda: os.sched_setaffinity(0, {0}))
attempt("go real-time", lambda: os.sched_setscheduler(0, 1, os.sched_param(1)))
