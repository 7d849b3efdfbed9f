"""2f-73: Takes locks and leases on files that others share."""

import fcntl

with open(torch.__file__) as file:
    attempt("flock", lambda: fcntl.flock(file, fcntl.LOCK_EX))
    attempt("lock", lambda: fcntl.lockf(file, fcntl.LOCK_SH))
    attempt("lease", lambda: fcntl.fcntl(file, 1024, 1))
