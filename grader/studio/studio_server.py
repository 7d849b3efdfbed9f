"""Run the studio's server on this machine alone, until Ctrl-C; nothing is left then.

The port is bound before anything is said, so that the link that is printed works.  What a client may keep busy is
bounded: so many connections, so much time until a request has come, so much time until an answer was taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import uvicorn
from starlette.routing import BaseRoute
from uvicorn.protocols.http.h11_impl import H11Protocol

from grader.ground.errors import UserError
from grader.studio.gatekeeper import Gatekeeper
from grader.studio.instructor_pages import Place
from grader.studio.open_attempts import OpenAttempts
from grader.studio.studio_app import studio_app

HOST = "127.0.0.1"
PORT = 8519
MOST_CONNECTIONS = 64
HEAD_SECONDS = 10.0  # until the head of a request must have come
GRACE_SECONDS = 2  # that open answers get when the server ends
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_studio(
    attempts: OpenAttempts,
    listening: socket.socket,
    page: str,
    say: Callable[[str], None],
    *,
    browse: bool,
    more: Sequence[BaseRoute] = (),
    places: Sequence[Place] = (),
) -> None:
    """Serve until a signal comes; raises KeyboardInterrupt then. `say` is given the link to the page.

    `more` are pages beside those of a learner, and `places` lead to them.
    """
    port = listening.getsockname()[1]
    hosts = [f"{name}:{port}" for name in (HOST, "localhost")]
    door = Gatekeeper(studio_app(attempts, more, places), hosts, f"kvdojo-studio-{port}")
    link = f"http://{HOST}:{port}{page}?key={door.key}"

    def ready() -> None:
        say(link)
        threading.Thread(target=_read_ahead, name="read-ahead", daemon=True).start()
        if browse and can_browse():
            threading.Thread(target=_browse, args=(link,), daemon=True).start()

    server = StudioServer(serving(door), ready, attempts.close)
    try:
        asyncio.run(server.serve(sockets=[listening]))
    finally:
        attempts.close()
    if server.interrupted:
        raise KeyboardInterrupt


def serving(door: Gatekeeper) -> uvicorn.Config:
    """Return how the pages behind a door are served."""
    return uvicorn.Config(
        door,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
    )


def bind(port: int | None) -> socket.socket:
    """Return a socket on this machine's own address: on `port`, or else on the usual one if it is free, or on any.

    Raises UserError where a port was named and cannot be had.
    """
    for number in (PORT, 0) if port is None else (port,):
        # with the protocol named asyncio sends small packets at once; without, each waits 40 ms for an acknowledgement
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, number))
            listening.listen(128)
        except OSError as error:
            listening.close()
            if port is None and number:
                continue
            taken = error.errno == errno.EADDRINUSE
            why = "is taken; name another one" if taken else f"cannot be had: {error.strerror}"
            raise UserError(f"port {number} {why}.") from None
        listening.set_inheritable(False)
        return listening
    raise AssertionError("port 0 is any port")


def can_browse() -> bool:
    """Whether a browser with a window is likely here: one in the terminal would take the place of what is printed."""
    if sys.platform != "linux":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


class StudioServer(uvicorn.Server):
    """A server that says when it listens, and ends its streams first when it is to end."""

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], None], ending: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._ready, self._ending = ready, ending
        self.interrupted = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the attempts, which ends the streams, then the connections."""
        for server in self.servers:
            server.close()
        await asyncio.to_thread(self._ending)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal, in order; uvicorn would send it to this process once more, before anything is cleaned up."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._signalled) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # the second time at once
        self.should_exit = self.interrupted = True


class BoundedProtocol(H11Protocol):
    """A connection that is closed when no request has come on it for a while, however busily bytes drip in."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._answering()

    def handle_events(self) -> None:
        """Stop waiting when a request has come."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._answering()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait()
        super().on_response_complete()

    def _wait(self) -> None:
        self._answering()
        self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _answering(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


def _read_ahead() -> None:
    """Import what the first attempt needs while the list of challenges is looked at: its page is there sooner then."""
    with contextlib.suppress(Exception):  # whoever needs it says what is wrong with it
        for name in ("markdown_it", "torch", "grader.judge.golden_check"):
            importlib.import_module(name)


def _browse(link: str) -> None:
    with contextlib.suppress(Exception):  # the link is printed as well
        webbrowser.open(link)
