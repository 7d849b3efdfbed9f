"""2e-57: Takes memory outside its address space."""

import os

attempt("make a memfd", lambda: os.memfd_create("x"))
attempt("use shared memory", lambda: open("/dev/shm/kvdojo-escaped", "wb"))
attempt_call("shmget", 29, 7, 1 << 30, 0o1666)
