"""Who may speak with the studio: one browser, which was given the key, from pages of the studio itself.

The server runs what a learner types, so whatever else this machine's browser has open must not reach it.  Every request
is checked here before a page is looked up, and every answer leaves with the same headers.

    asked                                                     answered
    a Host that is not ours (a name that was bound to 127.0.0.1 later)    421
    an Origin that is not ours, or a change without one       403
    no cookie, or another one                                 403
    a body that is too long, or comes too slowly              413, 408
    `/?key=KEY`                                               the cookie, and on to the page

The key stands in the link that the command prints and in no page; the cookie holds another secret, which no script can
read and which the browser sends to no other site.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grader.ground.invocation import command_line
from grader.ground.limits import MAX_SOURCE_BYTES

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # `no-referrer` would make the Origin of a form `null`
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
MOST_BODY = (
    6 * MAX_SOURCE_BYTES + 4096
)  # a file as JSON, each of whose characters may be written as an escape
BODY_SECONDS = 10.0  # until a body must have come
SAFE = ("GET", "HEAD")
HOW_TO_OPEN = "The studio opens with the link that `{}` printed in the terminal."


class Refused(HTTPException):
    """A request that is not answered: its status, and why in one line."""


class Gatekeeper:
    """ASGI middleware around the pages; `hosts` are the values of Host by which the server may be called."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], cookie_name: str) -> None:
        self._app, self._hosts, self._name = app, frozenset(hosts), cookie_name
        self.key = secrets.token_urlsafe(24)
        self._secret = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or have it answered."""
        if scope["type"] != "http":
            return  # the server speaks no web sockets, and nothing here has a lifespan
        try:
            answer = self._admit(scope)
            if answer is None:
                await self._app(scope, _Body(scope, receive), _with_headers(send))
                return
        except Refused as refused:
            answer = PlainTextResponse(f"{refused.detail}\n", refused.status_code)
        await answer(scope, receive, _with_headers(send))

    def _admit(self, scope: Scope) -> Response | None:
        """Return None for a request that may pass, or the answer that gives the cookie; raises Refused."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            raise Refused(421, "This server answers to its own name alone.")
        for origin in headers.getlist("origin"):
            if origin != f"http://{hosts[0]}":
                raise Refused(403, "Pages of another site may ask nothing here.")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not _opens(
            scope, headers
        ):
            raise Refused(403, "Pages of another site may ask nothing here.")
        if self._knows(headers):
            if scope["method"] not in SAFE and "origin" not in headers:
                raise Refused(403, "A change must say from which page it comes.")
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("key", [])
        if scope["method"] == "GET" and len(given) == 1 and _same(given[0], self.key):
            return self._welcome(scope["path"])
        raise Refused(403, HOW_TO_OPEN.format(command_line("studio")))

    def _knows(self, headers: Headers) -> bool:
        """Whether the request brings the cookie; a browser may send others beside it."""
        pairs = [part.strip().partition("=") for part in headers.get("cookie", "").split(";")]
        return any(name == self._name and _same(value, self._secret) for name, _, value in pairs)

    def _welcome(self, path: str) -> Response:
        """Give the cookie, and go on to the page without the key, so that it stays in no history."""
        local = path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
        answer = RedirectResponse(local, 303)
        answer.set_cookie(self._name, self._secret, path="/", httponly=True, samesite="strict")
        return answer


class _Body:
    """The body of a request, bounded in length and in time; reading it raises Refused."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive, self._left, self._done = receive, MOST_BODY, False
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isascii() or not said.isdigit() or int(said[:12]) > MOST_BODY:
            raise Refused(413, "That is larger than anything the studio takes.")
        self._until = asyncio.get_running_loop().time() + BODY_SECONDS

    async def __call__(self) -> Message:
        if self._done:
            return (
                await self._receive()
            )  # waits for the client to go, which may take as long as it likes
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise Refused(408, "The request came too slowly.") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise Refused(413, "That is larger than anything the studio takes.")
        self._done = not message.get("more_body", False)
        return message


def _opens(scope: Scope, headers: Headers) -> bool:
    """Whether somebody follows a link to a page, which is all that may come from another site."""
    return scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode("utf-8", "replace"), other.encode())


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return guarded
