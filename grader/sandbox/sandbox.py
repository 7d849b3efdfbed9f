"""The grader's entrance to the sandbox: start it, wait until its isolation is proven, open sessions.

On Linux a fork server, which has torch imported, forks one confined worker for every session. Elsewhere whole
processes are used, without isolation, and saying so.
"""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from grader.ground.limits import MAX_SOURCE_BYTES
from grader.sandbox.layers import LAYERS, selftest
from grader.sandbox.layers.seccomp import SUPERVISED, Seccomp
from grader.sandbox.process import ForkServerClient, ForkServerDied
from grader.sandbox.protocol.codec import pack_driver
from grader.sandbox.protocol.messages import Limits, SandboxError, WorkerFailure
from grader.sandbox.session import Session
from grader.sandbox.spawn import FORKS

if TYPE_CHECKING:
    from grader.sandbox.portable import ProcessPool

READY_SECONDS = 60.0
PROBE_CPU_SECONDS = 10.0
NO_FORK = f"no confinement is known for {sys.platform}"
NO_PIPES = (
    "submissions cannot be run on Windows itself; use the Windows Subsystem for Linux (WSL 2)"
)
CHOSEN = "Not isolated, as asked: run only files you trust; for self-checking only."
UNABLE = (
    "This machine cannot isolate submissions ({}). Running your own code is fine;"
    " do not grade other people's files here."
)
NO_FOLDER = "Submissions have no folder to write into ({}), so files that need one fail. {}."
MAKE_ROOM = "Make /tmp writable, with room for a few MB"
UNSUPERVISED = "its kernel, or a program around it, lets nobody count their files"
GO_OUTSIDE = "Run this outside of other sandboxes, on Linux 5.13 or newer"
EVERYTHING = {layer.name: 99 for layer in LAYERS}  # a version that offers all there is


class Sandbox:
    """Use as a context manager; `open` may be called from several threads at once.

    Made by `start`; `forks` chooses between the two ways of making processes. The rest of the constructor is for
    tests: `without` weakens the isolation. The name of a layer there leaves it out, which the self-test has
    to notice; `NAME-support` makes believe that the kernel does not offer it, `landlock-beyond-abi1` that it has the
    oldest Landlock, and `seccomp-supervision` that no process may answer another's calls.

    Known once it is `ready`: `layers`, the names of the isolation in force; `isolated`, whether other people's
    files may be run; `notice`, what the user has to be told about it; `versions` of python, torch and triton in the
    workers.
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
        self.layers: tuple[str, ...] = ()
        self.versions: Mapping[str, str | None] = MappingProxyType({})
        self.isolated = False
        self.notice: str | None = None if isolate else CHOSEN
        self._server = self._start_server()

    @classmethod
    def start(
        cls,
        *,
        isolate: bool = True,
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        forks: bool = FORKS,
    ) -> Sandbox:
        """Return at once, while the fork server imports torch and the `preload` modules."""
        return cls(isolate=isolate, preload=preload, env=env or {}, forks=forks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_server(self) -> ForkServerClient | ProcessPool:
        if self._forks:
            return ForkServerClient(preload=self._preload, env=self._env)
        if not hasattr(select, "poll"):
            raise SandboxError(NO_PIPES)
        from grader.sandbox.portable import ProcessPool

        return ProcessPool(preload=self._preload, env=self._env)

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
        if self._isolate and self._forks:
            # the fork server is still importing torch: build now what a kernel with every layer will need
            for layer in LAYERS:
                layer.build(EVERYTHING)
        hello = self._server.greet(timeout)
        self.versions = {name: hello[name] for name in ("python", "torch", "triton")}
        available = self._available(hello["layers"])
        self.notice, isolated = self._policy(available)
        if isolated and self.notice is None:
            self.notice = _no_folder(hello["folders"]["why"], available)
        wanted = [layer for layer in LAYERS if available[layer.name] and (isolated or layer.always)]
        chosen = [layer for layer in wanted if layer.name not in self._without]
        self._server.arm({layer.name: layer.build(available) for layer in chosen}, timeout)
        self.layers = tuple(layer.name for layer in wanted)
        if isolated:
            self.layers = selftest.run(self._open_unproven)
        self.isolated = isolated

    def _available(self, reported: Mapping[str, int]) -> dict[str, int]:
        """Return what the kernel offers of every layer, less what a test takes away."""
        available = dict(reported)
        for word in self._without:
            if word == "landlock-beyond-abi1":
                available["landlock"] = min(1, available["landlock"])
            elif word == "seccomp-supervision":
                available["seccomp"] = min(1, available["seccomp"])
            elif word.endswith("-support"):
                available[word.removesuffix("-support")] = 0
        return available

    def _policy(self, available: Mapping[str, int]) -> tuple[str | None, bool]:
        """Return what the user is told, and whether submissions are isolated."""
        if not self._isolate:
            return CHOSEN, False
        if not self._forks:
            return UNABLE.format(NO_FORK), False
        lacking = [layer for layer in LAYERS if not available[layer.name]]
        for layer in lacking:
            if layer.isolates:
                return UNABLE.format(layer.missing), False
        return (lacking[0].missing if lacking else None), True

    @property
    def warming(self) -> bool:
        """Whether `ready` would wait for torch to be imported: time for other work."""
        return not (self._proven or self._closed) and self._failure is None and self._server.warming

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
        """Fork a worker for one submission.

        A fork server that died is replaced here, once: whoever notices first starts another, and every other thread
        waits until that one has passed the self-test. A session that was running when it died raises SandboxError;
        its case is asked again by the judge, in a session that is opened here.

        Raises WorkerFailure for a source that is too large, SandboxError where nothing can be run.
        """
        if len(source) > MAX_SOURCE_BYTES:
            raise WorkerFailure("protocol", f"the file is larger than {MAX_SOURCE_BYTES >> 10} KiB")
        limits = limits or Limits()
        server = self._proven_server()
        try:
            process = server.worker(filename, limits)
        except ForkServerDied:
            process = self._proven_server(instead_of=server).worker(filename, limits)
        return Session(process, source, self._packed(driver), limits)

    def _open_unproven(self, source: bytes, driver: bytes) -> Session:
        limits = Limits(seconds=READY_SECONDS, cpu=PROBE_CPU_SECONDS)
        worker = self._server.worker("submission.py", limits)
        return Session(worker, source, self._packed(driver), limits)

    def _packed(self, driver: bytes) -> bytes:
        return pack_driver(driver, compiled=self._forks)

    def _proven_server(
        self, instead_of: ForkServerClient | ProcessPool | None = None
    ) -> ForkServerClient | ProcessPool:
        """Return the proven fork server, a new one if it is still `instead_of`."""
        with self._lock:
            if self._server is instead_of:
                instead_of.close()
                self._server = self._start_server()
                self._proven = False
            self.ready()
            return self._server

    def close(self) -> None:
        """End the fork server and every worker still alive."""
        with self._lock:
            self._closed = True
            self._server.close()


def _no_folder(why: str, available: Mapping[str, int]) -> str | None:
    """Say that workers can write nowhere, if that is so, and what to do."""
    if available[Seccomp.name] < SUPERVISED:
        return NO_FOLDER.format(UNSUPERVISED, GO_OUTSIDE)
    return NO_FOLDER.format(why, MAKE_ROOM) if why else None
