"""Where Python lies, and the literal environment of processes that run learner code."""

from __future__ import annotations

import os
import sys
import sysconfig

DEVICE = "KVDOJO_DEVICE"  # names the device for tensors in unconfined workers
ABSENT = "/nonexistent"  # what workers without a folder are told in its place
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": ABSENT,
    "TORCHDYNAMO_DISABLE": "1",  # it would need a compiler; see `warm.stand_ins`
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # huge pages halve the cost of a fork where glibc and the kernel have them
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def python_folders() -> set[str]:
    """Return the folders of the interpreter, its standard library and its packages."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = {sysconfig.get_path(name) for name in names}
    paths |= {os.path.join(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix)}
    return {os.path.realpath(path) for path in paths}
