"""The worker's system-call filter, compiled by libseccomp in the grader; the worker only loads it.

An allow-list for a single-threaded CPU computation: any other call, known or not yet invented,
answers EPERM; calls of a foreign architecture end the process.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os

from grader.sandbox.protocol.messages import SandboxError

ALLOWED = """
read write readv writev pread64 pwrite64 close lseek dup dup2 dup3 fstat newfstatat stat lstat statx
access faccessat faccessat2 readlink readlinkat getcwd open openat getdents64 poll ppoll select
pselect6 mmap munmap mprotect mremap madvise brk futex sched_yield sched_getaffinity getcpu rseq
set_robust_list get_robust_list rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage sysinfo uname
getpid getppid gettid getuid geteuid getgid getegid getpgrp getrandom getrlimit exit exit_group
arch_prctl
"""
# newfstatat stays allowed: libc implements fstat of a descriptor with it
FILES = "open openat getdents64 readlink readlinkat stat lstat statx access faccessat faccessat2"
FCNTL = (0, 1, 2, 3, 4, 1030)  # duplicate a descriptor, read and set flags; no locks, no leases
IOCTL = (0x5401, 0x5413, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONCLEX, FIOCLEX
PRCTL = (15, 16, 0x53564D41)  # thread name, anonymous memory names


@functools.cache
def build(*, closed_book: bool = False) -> bytes:
    """Return the filter as BPF; `closed_book` opens no file at all, where Landlock is absent."""
    try:
        import pyseccomp as sc
    except (ImportError, RuntimeError, OSError) as error:
        raise SandboxError(
            "libseccomp is not installed, so submissions cannot be isolated;"
            " install it (Debian, Ubuntu: apt-get install libseccomp2) and try again"
        ) from error
    rules = sc.SyscallFilter(defaction=sc.ERRNO(errno.EPERM))
    closed = FILES.split() if closed_book else []
    for name in ALLOWED.split():
        with contextlib.suppress(Exception):  # not every architecture has every name
            rules.add_rule(sc.ERRNO(errno.ENOENT) if name in closed else sc.ALLOW, name)
    rules.add_rule(sc.ALLOW, "prlimit64", sc.Arg(0, sc.EQ, 0))
    for call, position, values in (("fcntl", 1, FCNTL), ("ioctl", 1, IOCTL), ("prctl", 0, PRCTL)):
        for value in values:
            rules.add_rule(sc.ALLOW, call, sc.Arg(position, sc.EQ, value))
    rules.add_rule(sc.ERRNO(errno.ENOSYS), "clone3")  # libc then tries clone, which is refused
    # a kilobyte through a pipe: there may be no room for a file
    reading, writing = os.pipe()
    with open(reading, "rb") as source:
        with open(writing, "wb") as file:
            rules.export_bpf(file)
        return source.read()
