"""2e-58: Fills the disk."""

import os
import tempfile

attempt("write elsewhere", lambda: tempfile.TemporaryFile(dir="/var/tmp"))
attempt("write beside its folder", lambda: open("../kvdojo-escaped", "wb"))
attempt("write null", lambda: open("/dev/full", "wb"))
attempt("truncate", lambda: os.truncate("/tmp", 1 << 40))


def fill(name):
    with open(name, "wb") as file:
        while True:
            file.write(b"x" * (1 << 16))


def fill_all():
    for number in range(300):
        try:
            fill(f"part{number}")
        except OSError as error:
            if error.errno != 27:  # beyond the largest file there may be
                raise


attempt("write a file without end", lambda: fill("large"))
attempt("allocate a large file", lambda: os.posix_fallocate(os.open("gap", 66), 0, 1 << 30))
attempt("write files without end", fill_all)
