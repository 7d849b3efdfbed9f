"""The layer `seccomp`: a filter of system calls, compiled by libseccomp in the grader and loaded by the worker.

It is an allow-list for a computation in one thread: any other call, known or not yet invented, answers EPERM, and
calls of a foreign architecture end the process. It comes last, since it forbids what the other layers are entered
with. Where the kernel has no Landlock to hide files, it forbids opening any ("closed book").

A second filter, loaded before it, has the kernel ask the worker's supervisor (`warm.supervisor`) before a file or
folder is made and before a fork; the worker hands over the descriptor for that while it can still send one. Of two
filters the stricter answer counts.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import signal
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from grader.sandbox.layers.landlock import Landlock
from grader.sandbox.layers.layer import Attempt, Budget, Layer, Places, checked, libc, prctl
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
# in a worker's own folder, as Landlock sees to
MAKE = "mkdir mkdirat"
CHANGE = "unlink unlinkat rmdir rename renameat renameat2 ftruncate fsync fdatasync"
FORK = 0x1200011  # what libc's fork asks clone for
SET_PDEATHSIG = 1
OPEN_FLAGS = {"open": 1, "openat": 2}  # which argument they are
TMPFILE = 0x400000  # of O_TMPFILE, the bit that nothing else has
FORKING_CALLS = frozenset({56, 220})  # clone on x86-64 and on ARM
SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}
NEW_LISTENER = 8
SUPERVISED = 2  # what `available` returns where the kernel lets one process answer another's calls
SIZE = struct.Struct("<I")


NO_NEW_PRIVILEGES = 38
ALLOW_ALL = struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000)  # one instruction


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class Seccomp(Layer):
    """Leaves a submission nothing to do but compute."""

    name = "seccomp"
    summary = "computing in one thread, without other programs, processes, sockets or signals; `closed-book`: nor files"
    isolates = True
    missing = "its kernel has no seccomp filters"

    def __init__(self) -> None:
        self._first, self._filter = b"", b""
        self._shown = self.name

    @property
    def shown_as(self) -> tuple[str, ...]:
        """Told apart by whether files can be opened."""
        return (self.name, f"{self.name}-closed-book")

    def available(self) -> int:
        """Whether the kernel knows filters, and `SUPERVISED` where it lets calls be answered by another process."""
        if libc().prctl(GET_SECCOMP, 0, 0, 0, 0) < 0:
            return 0
        return SUPERVISED if _can_supervise() else 1

    def build(self, available: Mapping[str, int]) -> bytes:
        """Return both filters behind the name under which a result shows the layer."""
        closed_book = not available[Landlock.name]
        supervised = available[self.name] >= SUPERVISED
        first = first_filter(closed_book=closed_book) if supervised else b""
        main = compiled_filter(closed_book=closed_book, supervised=supervised)
        return self.shown_as[closed_book].encode() + b"\0" + SIZE.pack(len(first)) + first + main

    def prepare(self, part: bytes) -> None:
        """Keep the filters for the workers."""
        shown, _, rest = part.partition(b"\0")
        (size,) = SIZE.unpack_from(rest)
        self._shown = shown.decode()
        self._first, self._filter = rest[SIZE.size : SIZE.size + size], rest[SIZE.size + size :]

    @property
    def supervises(self) -> bool:
        """Whether a worker hands over a descriptor for its calls."""
        return bool(self._first)

    def enter(self, budget: Budget) -> str:
        """Load the filters; from here on this process can do no more than compute and answer."""
        if self._first:
            listener = _load_supervised(self._first)
            with socket.socket(fileno=budget.supervisor) as supervisor:
                socket.send_fds(supervisor, [b"0"], [listener])
            os.close(listener)
        program, _kept = _program(self._filter)
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


def _program(code: bytes) -> tuple[_Program, Any]:
    buffer = ctypes.create_string_buffer(code, len(code))
    return _Program(len(code) // 8, ctypes.addressof(buffer)), buffer


def _load_supervised(code: bytes) -> int:
    """Load a filter and return the descriptor through which its questions come."""
    program, _kept = _program(code)
    number = SECCOMP_CALL[platform.machine()]
    loaded = libc().syscall(number, 1, NEW_LISTENER, ctypes.byref(program))
    return checked(loaded, "seccomp with a listener")


def _can_supervise() -> bool:
    """Try it in a process of its own: another supervisor around all of this may take the only place there is."""
    if platform.machine() not in SECCOMP_CALL:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            prctl(NO_NEW_PRIVILEGES, 1)
            _load_supervised(ALLOW_ALL)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _pyseccomp() -> Any:
    try:
        import pyseccomp as sc
    except (ImportError, RuntimeError, OSError) as error:
        raise SandboxError(
            "libseccomp is not installed, so submissions cannot be isolated;"
            " install it (Debian, Ubuntu: apt-get install libseccomp2) and try again"
        ) from error
    return sc


@functools.cache
def first_filter(*, closed_book: bool = False) -> bytes:
    """Return the filter with the questions for the supervisor, as BPF; it allows everything else.

    It also refuses to cut a file off while it is opened for reading, which Landlock learned only with ABI 3.
    """
    sc = _pyseccomp()
    rules = sc.SyscallFilter(defaction=sc.ALLOW)
    rules.add_rule(sc.NOTIFY, "clone", sc.Arg(0, sc.EQ, FORK))
    for name, position in OPEN_FLAGS.items():
        if closed_book:
            break
        with contextlib.suppress(Exception):  # not every architecture has every name
            made = sc.Arg(position, sc.MASKED_EQ, os.O_CREAT, os.O_CREAT)
            rules.add_rule(sc.NOTIFY, name, made)
            # a file without a name would not be seen in the folder; Python then makes one and removes its name
            nameless = sc.Arg(position, sc.MASKED_EQ, TMPFILE, TMPFILE)
            rules.add_rule(sc.ERRNO(errno.EOPNOTSUPP), name, nameless)
            for access in (os.O_RDONLY, os.O_ACCMODE):
                cut = sc.Arg(position, sc.MASKED_EQ, os.O_ACCMODE | os.O_TRUNC, access | os.O_TRUNC)
                rules.add_rule(sc.ERRNO(errno.EPERM), name, cut)
    for name in MAKE.split() if not closed_book else ():
        with contextlib.suppress(Exception):
            rules.add_rule(sc.NOTIFY, name)
    return _exported(rules)


@functools.cache
def compiled_filter(*, closed_book: bool = False, supervised: bool = False) -> bytes:
    """Return the filter as BPF; with `closed_book` it lets no file be opened.

    Where the worker is `supervised`, it may make files in its folder and fork as often as its supervisor lets it.
    Raises SandboxError, with what to install, where libseccomp is missing.
    """
    sc = _pyseccomp()
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
    if supervised:
        rules.add_rule(sc.ALLOW, "clone", sc.Arg(0, sc.EQ, FORK))
        rules.add_rule(sc.ALLOW, "wait4")
        killed = sc.Arg(1, sc.EQ, signal.SIGKILL)
        rules.add_rule(sc.ALLOW, "prctl", sc.Arg(0, sc.EQ, SET_PDEATHSIG), killed)
        for name in f"{MAKE} {CHANGE}".split() if not closed_book else ():
            with contextlib.suppress(Exception):
                rules.add_rule(sc.ALLOW, name)
    return _exported(rules)


def _exported(rules: Any) -> bytes:
    # a kilobyte through a pipe: there may be no room for a file
    reading, writing = os.pipe()
    with open(reading, "rb") as source:
        with open(writing, "wb") as file:
            rules.export_bpf(file)
        return source.read()
