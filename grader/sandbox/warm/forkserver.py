"""The warm parent of all workers: torch imported, one thread, no secrets, one fork per job.

It speaks JSON and descriptors with the grader over one socket, and tells each job's own socket the
child's pidfd and, later, how it ended. It never runs learner code and never sees a golden.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

from grader.ground.paths import ROOT
from grader.sandbox.layers import confine, landlock, trees
from grader.sandbox.warm import warmup
from grader.sandbox.worker import startup

CONTROL = 3
MESSAGE = 64 << 10
ABOVE = 16
HUGE = 2 << 20
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Child:
    """A worker not yet reaped, and the socket that wants to know how it ends."""

    pid: int
    pidfd: int
    report: socket.socket


def main() -> None:
    """Warm up, tell what this machine has, take the filter, then fork on demand for ever."""
    control = socket.socket(fileno=CONTROL)
    config = json.loads(control.recv(MESSAGE))
    hello = warmup.warm_up(config["preload"])
    template = prepare(config["isolate"], config["without"], hello)
    control.send(json.dumps(hello).encode())
    filter_and_mode = control.recv(MESSAGE)
    bpf = filter_and_mode[1:] or None
    closed_book = filter_and_mode[:1] == b"c"
    ForkServer(control, {**template, "bpf": bpf, "closed_book": closed_book}).serve()


def prepare(isolate: bool, without: list[str], hello: dict[str, Any]) -> dict[str, Any]:
    """Lose the repository and all privileges; add to `hello` what the kernel offers."""
    version = landlock.abi() if isolate and "landlock-support" not in without else 0
    if "landlock-beyond-abi1" in without:
        version = min(version, 1)
    hello |= {"landlock": version, "seccomp": isolate and confine.has_seccomp()}
    rules = None
    if version and "landlock" not in without:
        made = landlock.ruleset(trees.rights(), version)
        rules = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, ABOVE)
        os.close(made)
    forget_repository()
    if isolate:
        confine.drop_capabilities()
    threads = os.listdir("/proc/self/task")
    if len(threads) != 1:
        raise RuntimeError(f"the zygote has {len(threads)} threads; forking would not be safe")
    settle()
    return {"ruleset": rules, "landlock_abi": version}


def forget_repository() -> None:
    """Make `import reference` or `import grader.judge` fail in every worker."""
    kept = tuple(trees.python_trees())
    root = str(ROOT)
    sys.path[:] = [
        path
        for path in sys.path
        if os.path.realpath(path) != root and os.path.realpath(path).startswith(kept)
    ]
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if "__editable__" not in str(type(finder).__module__)
    ]
    sys.path_importer_cache.pop(root, None)
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "grader" and hasattr(module, "__path__"):
            module.__path__ = []


class ForkServer:
    """Forks workers, hands out their pidfds and reports how they ended."""

    def __init__(self, control: socket.socket, template: dict[str, Any]) -> None:
        self.control = control
        self.template = template
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.children: dict[int, Child] = {}
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Serve until the grader hangs up; the workers die with this process."""
        while True:
            for fd, _ in self.poll.poll():
                if fd != self.control.fileno():
                    self.reap(self.children.pop(fd))
                elif not self.take_job():
                    os._exit(0)

    def take_job(self) -> bool:
        """Receive one job and fork its worker; False when the grader is gone."""
        text, fds, _, _ = socket.recv_fds(self.control, MESSAGE, 4)
        if not text:
            return False
        *pipes, report = fds
        pid = os.fork()
        if pid == 0:
            self.become_worker(json.loads(text), pipes)
        for fd in pipes:
            os.close(fd)
        child = Child(pid, os.pidfd_open(pid), socket.socket(fileno=report))
        self.children[child.pidfd] = child
        self.poll.register(child.pidfd, select.POLLIN)
        _tell(child.report, {"pid": pid}, [child.pidfd])
        return True

    def become_worker(self, job: dict[str, Any], pipes: list[int]) -> None:
        """In the child: confine and serve; whatever happens, never return to the loop."""
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            policy = confine.Policy(**self.template, **job["limits"])
            requests, answers, log = pipes
            startup.run(policy, (requests, answers, log), self.null, job["filename"])
        finally:
            os._exit(113)

    def reap(self, child: Child) -> None:
        """Collect a dead worker and say how it ended."""
        self.poll.unregister(child.pidfd)
        _, status, usage = os.wait4(child.pid, 0)
        os.close(child.pidfd)
        seconds = usage.ru_utime + usage.ru_stime
        _tell(child.report, {"status": status, "cpu": seconds})
        child.report.close()


def _tell(report: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    try:
        socket.send_fds(report, [json.dumps(message).encode()], fds or [])
    except OSError:
        return  # the session is over and nobody listens


def settle() -> None:
    """Collect garbage, freeze the rest, and fold private memory into huge pages where possible."""
    gc.collect()
    gc.freeze()
    with open("/proc/self/maps", encoding="ascii", errors="replace") as file:
        lines = file.read().splitlines()
    for line in lines:
        span, rights, _, _, _, *name = line.split()
        if rights.startswith("rw") and (not name or name[0].startswith(("[heap", "[anon"))):
            start, end = (int(number, 16) for number in span.split("-"))
            if end - start >= HUGE:
                _fold(start, end - start)


def _fold(start: int, size: int) -> None:
    # advice: a kernel without it refuses, and forks are slower
    for advice in (MADV_HUGEPAGE, MADV_COLLAPSE):
        _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)
