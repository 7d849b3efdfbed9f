"""2e-58: Fills the disk."""

import os
import tempfile

attempt("make a temporary file", tempfile.TemporaryFile)
attempt("write here", lambda: open("kvdojo-escaped", "wb"))
attempt("write null", lambda: open("/dev/full", "wb"))
attempt("truncate", lambda: os.truncate("/tmp", 1 << 40))
