"""2b-31: Looks for other submissions among the processes."""

import os

for pid in range(1, 400):
    attempt("read a process", lambda pid=pid: open(f"/proc/{pid}/cmdline", "rb").read())
attempt("list processes", lambda: os.listdir("/proc"))
