"""The layer `seccomp`: a filter of system calls, compiled by libseccomp in the grader and loaded by the worker.

It is an allow-list for a computation in one thread: any other call, known or not yet invented, answers EPERM, and
calls of a foreign architecture end the process. It comes last, since it forbids what the other layers are entered
with. Where the kernel has no Landlock to hide files, it forbids opening any ("closed book").
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import socket
import threading
from collections.abc import Iterator, Mapping

from grader.sandbox.layers.landlock import Landlock
from grader.sandbox.layers.layer import Attempt, Budget, Layer, Places, libc, prctl
from grader.sandbox.protocol.messages import SandboxError

GET_SECCOMP, SET_SECCOMP, FILTER_MODE = 21, 22, 2

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


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class Seccomp(Layer):
    """Leaves a submission nothing to do but compute."""

    name = "seccomp"
    summary = "computing in one thread, without other programs, processes, sockets or signals; `closed-book`: nor files"
    isolates = True
    missing = "its kernel has no seccomp filters"

    def __init__(self) -> None:
        self._filter = b""
        self._shown = self.name

    @property
    def shown_as(self) -> tuple[str, ...]:
        """Told apart by whether files can be opened."""
        return (self.name, f"{self.name}-closed-book")

    def available(self) -> int:
        """Whether the kernel knows filters."""
        return int(libc().prctl(GET_SECCOMP, 0, 0, 0, 0) >= 0)

    def build(self, available: Mapping[str, int]) -> bytes:
        """Return the filter behind the name under which a result shows it."""
        closed_book = not available[Landlock.name]
        return (
            self.shown_as[closed_book].encode() + b"\0" + compiled_filter(closed_book=closed_book)
        )

    def prepare(self, part: bytes) -> None:
        """Keep the filter for the workers."""
        shown, _, self._filter = part.partition(b"\0")
        self._shown = shown.decode()

    def enter(self, budget: Budget) -> str:
        """Load the filter; from here on this process can do no more than compute and answer."""
        buffer = ctypes.create_string_buffer(self._filter, len(self._filter))
        program = _Program(len(self._filter) // 8, ctypes.addressof(buffer))
        prctl(SET_SECCOMP, FILTER_MODE, ctypes.addressof(program))
        return self._shown

    def attempts(self, places: Places) -> Iterator[Attempt]:
        """Reach beyond the process: sockets, threads, signals, processes and programs."""
        parent = os.getppid()
        yield "open a TCP socket", lambda: socket.socket().close()
        yield "open a UNIX socket", lambda: socket.socket(socket.AF_UNIX).close()
        yield "start a thread", lambda: threading.Thread(target=int).start()
        yield "signal the parent", lambda: os.kill(parent, 0)
        yield "fork", _fork
        yield "run a program", _run_program


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _run_program() -> None:
    try:
        os.execv("/no/such/program", ["program"])
    except FileNotFoundError:
        return  # it was looked for: the call itself is allowed


@functools.cache
def compiled_filter(*, closed_book: bool = False) -> bytes:
    """Return the filter as BPF; with `closed_book` it lets no file be opened.

    Raises SandboxError, with what to install, where libseccomp is missing.
    """
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
