"""The fork server, a process between grader and workers: torch imported, one thread, no secrets, a fork for a session.

It speaks JSON with the grader over a socket, one message each:

    grader       {"preload": [...]}                              what to import fork server  {"python": ...,
    "layers": {"landlock": 7, ...}}   versions, and what the kernel offers grader       {"landlock": "Nw==", ...}
    the layers to enter, with their parts fork server  ready grader       {"filename": ..., "budget": {...}}
    a job, with the worker's descriptors; any number of them

Each job brings a socket of its own, to which the fork server sends the worker's pidfd at once and later how it
ended. It never runs learner code and never sees a right answer.
"""

from __future__ import annotations

import base64
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grader.ground.paths import ROOT
from grader.sandbox.environment import python_folders
from grader.sandbox.layers import LAYERS
from grader.sandbox.layers.layer import Budget, Layer, libc
from grader.sandbox.warm import warmup
from grader.sandbox.worker import serve

CONTROL = 3
MESSAGE = 64 << 10
READY = b"ready"
HUGE = 2 << 20
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25


@dataclass
class Child:
    """A worker that has not been reaped, and the socket to tell how it ended."""

    pid: int
    pidfd: int
    report: socket.socket


def main() -> None:
    """Warm up, tell what this machine offers, prepare the layers that the grader chose, then fork on demand."""
    control = socket.socket(fileno=CONTROL)
    preload = _hear(control)["preload"]
    hello = warmup.warm_up(preload)
    hello["layers"] = {layer.name: layer.available() for layer in LAYERS}
    _say(control, json.dumps(hello).encode())
    layers = prepare({name: base64.b64decode(part) for name, part in _hear(control).items()})
    _say(control, READY)
    ForkServer(control, layers).serve()


def _hear(control: socket.socket) -> dict[str, Any]:
    """Receive one message; when the grader was ended meanwhile, end without a word on its terminal."""
    try:
        text = control.recv(MESSAGE)
    except ConnectionError:
        text = b""
    if not text:
        os._exit(0)
    message: dict[str, Any] = json.loads(text)
    return message


def _say(control: socket.socket, text: bytes) -> None:
    """Send one message; when the grader was ended meanwhile, end without a word on its terminal."""
    try:
        control.send(text)
    except ConnectionError:
        os._exit(0)


def prepare(parts: Mapping[str, bytes]) -> list[Layer]:
    """Lose the repository, get the layers ready that have a part, and make forking cheap and safe."""
    forget_repository()
    layers = [layer for layer in LAYERS if layer.name in parts]
    for layer in reversed(layers):
        layer.prepare(parts[layer.name])
    threads = os.listdir("/proc/self/task")
    if len(threads) != 1:
        raise RuntimeError(f"the fork server has {len(threads)} threads; forking would not be safe")
    fold_pages()
    return layers


def forget_repository() -> None:
    """Make `import reference` or `import grader.judge` fail in every worker."""
    kept = tuple(python_folders())
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
    """Forks workers, hands out their pidfds, and reaps them."""

    def __init__(self, control: socket.socket, layers: list[Layer]) -> None:
        self.control = control
        self.layers = layers
        self.isolated = any(layer.isolates for layer in layers)
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
            budget = Budget(**job["budget"], isolated=self.isolated)
            serve.run_forked(self.layers, budget, pipes, self.null, job["filename"])
        finally:
            os._exit(113)

    def reap(self, child: Child) -> None:
        """Collect a dead worker and say how it ended."""
        self.poll.unregister(child.pidfd)
        _, status, usage = os.wait4(child.pid, 0)
        os.close(child.pidfd)
        seconds = usage.ru_utime + usage.ru_stime
        _tell(child.report, {"code": os.waitstatus_to_exitcode(status), "cpu": seconds})
        child.report.close()


def _tell(report: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    try:
        socket.send_fds(report, [json.dumps(message).encode()], fds or [])
    except OSError:
        return  # the session is over and nobody listens


def fold_pages() -> None:
    """Make forking cheap: few, large pages, which children do not touch without need.

    A fork and an exit cost one step for every entry of the page table; huge pages take most entries away. Freezing
    the garbage collector's lists keeps its bookkeeping from writing to pages that the children share.
    """
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
        libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)
