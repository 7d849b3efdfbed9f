"""The fork server, a process between grader and workers: torch imported, one thread, no secrets, a fork for a session.

It speaks JSON with the grader over a socket, one message each:

    grader       {"preload": [...], "env": {...}}                   what to import besides torch, and for whom
    fork server  {"python": ..., "layers": {"landlock": 7, ...}}    versions, and what the kernel offers
    grader       {"landlock": "Nw==", ...}                          the layers to enter, with their parts
    fork server  ready
    grader       {"filename": ..., "budget": {...}}                 a job, with the worker's descriptors; any number
    grader       {"forks": 4711}                                    from now on this worker may fork, for its cases

Each job brings a socket of its own, to which the fork server sends the worker's pidfd and folder at once, and later how
it ended. It lends every worker its folder, answers what the kernel asks about it (`supervisor`), and never runs learner
code and never sees a right answer.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from grader.ground.paths import ROOT
from grader.sandbox.environment import python_folders
from grader.sandbox.layers import LAYERS
from grader.sandbox.layers.landlock import ABOVE, Landlock
from grader.sandbox.layers.layer import Budget, Folder, Layer, libc
from grader.sandbox.layers.rlimits import FILES
from grader.sandbox.layers.seccomp import FORKING_CALLS, Seccomp
from grader.sandbox.warm import warmup
from grader.sandbox.warm.folders import Folders
from grader.sandbox.warm.supervisor import Supervisor, adopt_orphans, children
from grader.sandbox.worker import serve

CONTROL = 3
MESSAGE = 64 << 10
READY = b"ready"
HUGE = 2 << 20
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25


@dataclass
class Child:
    """A worker that has not been reaped.

    - `report`: the socket to tell how it ended;
    - `handover`: where it sends its listener while it confines itself, until it has;
    - `may_fork`: the grader said so.
    """

    pid: int
    pidfd: int
    report: socket.socket
    folder: Folder | None
    handover: socket.socket | None
    supervisor: Supervisor | None = None
    may_fork: bool = False


def main() -> None:
    """Warm up, tell what this machine offers, prepare the layers that the grader chose, then fork on demand."""
    control = socket.socket(fileno=CONTROL)
    told = _hear(control)
    os.environ.update(told["env"])
    hello = warmup.warm_up(told["preload"])
    hello["layers"] = {layer.name: layer.available() for layer in LAYERS}
    folders = Folders()
    hello["folders"] = {"root": folders.root, "why": folders.why}
    _say(control, json.dumps(hello).encode())
    layers = prepare({name: base64.b64decode(part) for name, part in _hear(control).items()})
    _say(control, READY)
    adopt_orphans()
    ForkServer(control, layers, folders).serve()


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

    def __init__(self, control: socket.socket, layers: list[Layer], folders: Folders) -> None:
        self.control = control
        self.layers = layers
        self.isolated = any(layer.isolates for layer in layers)
        self.supervised = any(isinstance(layer, Seccomp) and layer.supervises for layer in layers)
        hides_files = any(isinstance(layer, Landlock) for layer in layers)
        # an isolated worker gets a folder only where it can reach no other, and where its files are counted
        self.lends = not self.isolated or (self.supervised and hides_files)
        self.folders = folders
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.children: dict[int, Child] = {}
        # the descriptors in `poll` beside that for the end of a worker, and what to do when one is ready
        self.others: dict[int, Callable[[int], None]] = {}
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Serve until the grader hangs up; then end the workers and this process."""
        while True:
            for fd, events in self.poll.poll():
                if fd == self.control.fileno():
                    if not self.take_message():
                        self.end()
                elif fd in self.others:
                    self.others[fd](events)
                elif fd in self.children:
                    self.reap(self.children.pop(fd))

    def take_message(self) -> bool:
        """Receive a job, or the word that a worker may fork; False when the grader is gone."""
        text, fds, _, _ = socket.recv_fds(self.control, MESSAGE, 4)
        if not text:
            return False
        message = json.loads(text)
        if "forks" in message:
            for child in self.children.values():
                child.may_fork |= child.pid == message["forks"]
        else:
            self.take_job(message, fds)
        return True

    def take_job(self, job: dict[str, Any], fds: list[int]) -> None:
        """Fork a worker."""
        *pipes, report = fds
        folder = self.folders.lend() if self.lends else None
        for layer in self.layers:
            layer.admit(folder)
        ours, theirs = socket.socketpair() if self.supervised else (None, None)
        pid = os.fork()
        if pid == 0:
            self.become_worker(job, pipes, folder, theirs)
        for fd in pipes:
            os.close(fd)
        if theirs:
            theirs.close()
        child = Child(pid, os.pidfd_open(pid), socket.socket(fileno=report), folder, ours)
        self.children[child.pidfd] = child
        self.poll.register(child.pidfd, select.POLLIN)
        if ours:
            self.watch(ours.fileno(), lambda _: self.take_listener(child))
        where = folder.path if folder else ""
        _tell(child.report, {"pid": pid, "folder": where}, [child.pidfd])

    def watch(self, fd: int, ready: Callable[[int], None]) -> None:
        """Call `ready` whenever there is something to read."""
        self.others[fd] = ready
        self.poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Look no longer at a descriptor, which will be closed."""
        del self.others[fd]
        self.poll.unregister(fd)

    def become_worker(
        self,
        job: dict[str, Any],
        pipes: list[int],
        folder: Folder | None,
        handover: socket.socket | None,
    ) -> None:
        """In the child: confine and serve; whatever happens, never return to the loop."""
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            budget = Budget(
                **job["budget"],
                isolated=self.isolated,
                folder=folder.path if folder else "",
                # above the descriptors that a worker arranges for itself
                supervisor=fcntl.fcntl(handover, fcntl.F_DUPFD, ABOVE) if handover else -1,
            )
            serve.run_forked(self.layers, budget, pipes, self.null, job["filename"])
        finally:
            os._exit(113)

    def take_listener(self, child: Child) -> None:
        """Receive what a worker hands over, before it has seen a byte of the submission."""
        assert child.handover
        text, fds, _, _ = socket.recv_fds(child.handover, 1, 1)
        self.unwatch(child.handover.fileno())
        child.handover.close()
        child.handover = None
        if text and fds:
            child.supervisor = Supervisor(fds[0], child.pid, FILES, FORKING_CALLS)
            self.watch(fds[0], lambda events: self.answer(child, events))

    def answer(self, child: Child, events: int) -> None:
        """Answer what the kernel asks about a worker."""
        assert child.supervisor
        if (
            not events & select.POLLIN
        ):  # the worker has ended; to wait for a question would be for ever
            self.stop_answering(child)
            return
        # a word of the grader's that came before the call may still be waiting
        waiting = select.poll()
        waiting.register(self.control, select.POLLIN)
        while not child.may_fork and waiting.poll(0):
            if not self.take_message():
                self.end()
        child.supervisor.answer(may_fork=child.may_fork)

    def stop_answering(self, child: Child) -> None:
        """The worker has ended, or is about to."""
        if child.handover:
            self.unwatch(child.handover.fileno())
            child.handover.close()
            child.handover = None
        if child.supervisor and child.supervisor.listener >= 0:
            self.unwatch(child.supervisor.listener)
            child.supervisor.close()

    def reap(self, child: Child) -> None:
        """Collect a dead worker, end what it forked, give its folder back, and say how it ended."""
        self.poll.unregister(child.pidfd)
        _, status, usage = os.wait4(child.pid, 0)
        os.close(child.pidfd)
        self.stop_answering(child)
        seconds = usage.ru_utime + usage.ru_stime
        if child.supervisor and child.supervisor.forked:
            seconds += self.end_orphans()
        self.take_back(child)
        _tell(child.report, {"code": os.waitstatus_to_exitcode(status), "cpu": seconds})
        child.report.close()

    def end_orphans(self) -> float:
        """End the children of workers that have ended; return the CPU seconds they had used."""
        seconds = 0.0
        known = {child.pid for child in self.children.values()}
        for pid in children(os.getpid()) or []:
            if pid not in known:
                os.kill(pid, signal.SIGKILL)
                usage = os.wait4(pid, 0)[2]
                seconds += usage.ru_utime + usage.ru_stime
        return seconds

    def take_back(self, child: Child) -> None:
        """Take a worker's folder back."""
        if child.folder and not self.folders.give_back(child.folder):
            for layer in self.layers:
                layer.forget(child.folder)

    def end(self) -> NoReturn:
        """End the workers, remove every folder, and end."""
        for child in self.children.values():
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        for pid in children(os.getpid()) or []:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.folders.close()
        os._exit(0)


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
