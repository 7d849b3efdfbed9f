"""2b-22: Reads the parent's memory, environment and descriptors."""

import os

parent = os.getppid()
for name in ("mem", "environ", "maps", "cmdline", "fd", "cwd/README.md", "root/etc/passwd"):
    attempt("read " + name, lambda name=name: open(f"/proc/{parent}/{name}", "rb").read(1))
attempt("list descriptors", lambda: os.listdir(f"/proc/{parent}/fd"))
