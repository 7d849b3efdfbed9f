"""The grader's door to the sandbox: start it, wait until it is proven, open sessions.

On Linux a fork server forks one confined worker per session; elsewhere whole processes are used,
without isolation and saying so.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from grader.sandbox.layers import seccomp, selftest
from grader.sandbox.process import ForkServerClient, ForkServerDied
from grader.sandbox.protocol.messages import MAX_SOURCE, Limits, SandboxError, WorkerFailure
from grader.sandbox.session import Session

if TYPE_CHECKING:
    from grader.sandbox.portable import ProcessPool

READY_SECONDS = 60.0
NO_FILTERS = "its kernel has no seccomp filters"
NO_FORK = f"no confinement is known for {sys.platform}"
CHOSEN = "Not isolated, as asked: run only files you trust; for self-checking only."
UNABLE = (
    "This machine cannot isolate submissions ({}). Running your own code is fine;"
    " do not grade other people's files here."
)
CLOSED_BOOK = (
    "Landlock is missing here, so submissions run without opening any file:"
    " imports beyond torch and what it loads will fail."
)
UNISOLATED = ("process", "rlimits")
FORKS = sys.platform.startswith("linux") and hasattr(os, "pidfd_open")


class Sandbox:
    """Use as a context manager; `open` may be called from several threads at once.

    Made by `start`. The constructor's `without` leaves out layers, so that tests can see the
    self-test refuse; `forks` chooses between the two ways of making processes.
    """

    def __init__(
        self,
        *,
        isolate: bool,
        preload: Sequence[str],
        env: Mapping[str, str],
        without: frozenset[str] = frozenset(),
        forks: bool = FORKS,
    ) -> None:
        self._isolate, self._preload, self._env, self._without = isolate, preload, env, without
        self._forks = forks
        self._lock = threading.RLock()
        self._proven = False
        self._closed = False
        self._failure: SandboxError | None = None
        self.layers: tuple[str, ...] = UNISOLATED
        self.versions: Mapping[str, str | None] = MappingProxyType({})
        self.isolated = False
        self.notice: str | None = None if isolate else CHOSEN
        self._server = self._spawn()

    @classmethod
    def start(
        cls,
        *,
        isolate: bool = True,
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Sandbox:
        """Return at once, while the warm process imports torch and the `preload` modules."""
        return cls(isolate=isolate, preload=preload, env=env or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self) -> ForkServerClient | ProcessPool:
        if not self._forks:
            from grader.sandbox.portable import ProcessPool

            return ProcessPool(preload=self._preload, env=self._env)
        return ForkServerClient(
            isolate=self._isolate,
            preload=self._preload,
            env=self._env,
            without=self._without,
        )

    def ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until sessions can be opened; SandboxError unless the self-test saw every denial."""
        with self._lock:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            if self._failure is not None:
                raise self._failure
            if self._proven:
                return
            try:
                self._prove(timeout)
            except SandboxError as error:
                self._failure = error
                raise
            self._proven = True

    def _prove(self, timeout: float) -> None:
        # compiling the filter first: the warm process is still importing torch
        bpf = seccomp.build() if self._isolate and self._forks else None
        hello = self._server.greet(timeout)
        self.versions = {name: hello[name] for name in ("python", "torch", "triton")}
        if self._isolate and not hello["seccomp"]:
            self.notice = UNABLE.format(NO_FILTERS if self._forks else NO_FORK)
            bpf = None
        closed_book = bpf is not None and not hello["landlock"]
        if closed_book:
            self.notice = CLOSED_BOOK
            bpf = seccomp.build(closed_book=True)
        self._server.arm(None if "seccomp" in self._without else bpf, closed_book=closed_book)
        self.layers = UNISOLATED if self._forks else UNISOLATED[:1]
        if bpf is not None:
            self.layers = selftest.run(self._unproven)
        self.isolated = bpf is not None

    @property
    def pid(self) -> int:
        """The process id of the fork server, the parent of all workers; it changes when a dead one is replaced."""
        return self._server.pid

    def open(
        self,
        source: bytes,
        driver: bytes,
        *,
        filename: str = "submission.py",
        limits: Limits | None = None,
    ) -> Session:
        """Fork a worker for one submission; a dead warm process is replaced once."""
        if len(source) > MAX_SOURCE:
            raise WorkerFailure("protocol", f"the file is larger than {MAX_SOURCE >> 10} KiB")
        limits = limits or Limits()
        server = self._warm()
        try:
            process = server.worker(filename, limits)
        except ForkServerDied:
            process = self._warm(instead_of=server).worker(filename, limits)
        return Session(process, source, driver, limits)

    def _unproven(self, source: bytes, driver: bytes) -> Session:
        limits = Limits(seconds=READY_SECONDS)
        return Session(self._server.worker("submission.py", limits), source, driver, limits)

    def _warm(
        self, instead_of: ForkServerClient | ProcessPool | None = None
    ) -> ForkServerClient | ProcessPool:
        """Return the proven warm process; another thread may be replacing a dead one at this moment."""
        with self._lock:
            if self._server is instead_of:
                instead_of.close()
                self._server = self._spawn()
                self._proven = False
            self.ready()
            return self._server

    def close(self) -> None:
        """End the warm process and every worker still alive."""
        with self._lock:
            self._closed = True
            self._server.close()
