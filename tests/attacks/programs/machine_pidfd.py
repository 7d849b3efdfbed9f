"""2f-69: Takes a handle on the parent."""

import os

attempt("open a pidfd", lambda: os.pidfd_open(os.getppid()))
attempt_call("pidfd_getfd", 438, 3, 3, 0)
attempt_call("kcmp", 312, os.getppid(), os.getpid(), 0, 0, 0)
