"""2e-54: A fork bomb."""

import os

while True:
    if attempt("fork", os.fork) == 0:
        break
    attempt_call("clone", 56, 17, 0, 0, 0, 0)
    attempt_call("vfork", 58)
    attempt_call("clone3", 435, 0, 0)
    raise SystemExit
