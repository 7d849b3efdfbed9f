"""The pages of the studio, by address.

    /                          the challenges
    /challenge/ID              the brief, and the ways to begin
    /challenge/ID/start, /use  begin (POST), or choose another attempt (POST)
    /attempt/ID                editor, verdict, help
    /attempt/ID/events         the newest state, whenever it changes (server-sent events)
    /attempt/ID/file           the file as JSON; save it (POST)
    /attempt/ID/steps          the steps of the failing case, for the slider
    /attempt/ID/press/KEY      a key of `kvdojo watch` (POST)
    /attempt/ID/suspect, /log  what is suspected (POST), and the history
    /museum                    the bugs that were fixed
    /authors, /class           for authors and instructors, where they are asked for (`instructor_pages`)

Whoever asks has been let in by the `Gatekeeper`.  A path is never made of what a request says: challenges are looked up
by name, and the only file that is read or written is that of the attempt.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from grader.content import UnknownChallenge
from grader.content.generated_bugs import LEVELS
from grader.ground.display import escape_for_display, escape_lines
from grader.ground.errors import KvdojoError, UserError
from grader.learner.attempts import all_attempts
from grader.report.page_template import render_page
from grader.studio.editable_file import (
    Conflict,
    FileText,
    keep_mine,
    put_aside,
    read_text_of,
    save_text,
)
from grader.studio.instructor_pages import Place
from grader.studio.live_attempt import Piece
from grader.studio.open_attempts import OpenAttempts
from grader.studio.overviews import attempts_at, cards_of, families_of
from grader.studio.studio_services import Wish

STATIC = Path(__file__).with_name("static")
BEAT_SECONDS = 15.0  # between two signs of life on a stream, by which a lost page is noticed
MOST_FIELDS = 20
MOST_LOG = 400  # lines
FAST_NUMBERS = 1_000_000


def studio_app(
    attempts: OpenAttempts, more: Sequence[BaseRoute] = (), places: Sequence[Place] = ()
) -> Starlette:
    """Return the application: these pages, and `more` that others made, to which the `places` lead."""
    pages = _Pages(attempts, places)
    routes: list[BaseRoute] = [
        Route("/", pages.challenges),
        Route("/museum", pages.museum),
        Route("/challenge/{name}", pages.challenge),
        Route("/challenge/{name}/start", pages.start, methods=["POST"]),
        Route("/challenge/{name}/use", pages.use, methods=["POST"]),
        Route("/attempt/{name}", pages.attempt),
        Route("/attempt/{name}/events", pages.events),
        Route("/attempt/{name}/file", pages.file),
        Route("/attempt/{name}/file", pages.save, methods=["POST"]),
        Route("/attempt/{name}/steps", pages.steps),
        Route("/attempt/{name}/press/{key}", pages.press, methods=["POST"]),
        Route("/attempt/{name}/suspect", pages.suspect, methods=["POST"]),
        Route("/attempt/{name}/log", pages.log),
        *more,
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={KvdojoError: _problem, HTTPException: _refusal},
    )


class _Pages:
    """The answers; what waits or reads runs in a thread, so that streams go on meanwhile."""

    def __init__(self, attempts: OpenAttempts, places: Sequence[Place]) -> None:
        self._attempts, self._services = attempts, attempts.services
        self._places = places

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        return _page(template, status, places=self._places, **values)

    async def challenges(self, request: Request) -> Response:
        """Show all challenges and how far each has come."""
        cards, faults = await run_in_threadpool(cards_of, self._attempts)
        return self._page("challenges.html.j2", here="challenges", cards=cards, faults=faults)

    async def museum(self, request: Request) -> Response:
        """Show the bugs that were fixed, by family."""
        families = await run_in_threadpool(families_of, self._attempts)
        total = sum(len(family.stories) for family in families)
        return self._page("museum.html.j2", here="museum", families=families, total=total)

    async def challenge(self, request: Request) -> Response:
        """Show the brief and the ways to begin."""
        return await run_in_threadpool(self._challenge, request.path_params["name"])

    def _challenge(self, name: str, problem: str = "") -> Response:
        challenge = self._services.catalogue.load(name)
        work = self._attempts.find(challenge)
        presets = [(key, len(preset.bugs)) for key, preset in challenge.presets.items()]
        return self._page(
            "challenge.html.j2",
            409 if problem else 200,
            challenge=challenge,
            cases=len(challenge.cases),
            brief=_markdown(challenge.brief),
            presets=sorted(presets, key=lambda pair: pair[0] != "default"),
            fresh=challenge.generated.exists(),
            levels=LEVELS,
            number=self._attempts.any_number(FAST_NUMBERS),
            folder=str(work.folder) if work else None,
            attempts=attempts_at(self._attempts, challenge, all_attempts()),
            problem=problem,
        )

    async def start(self, request: Request) -> Response:
        """Begin an attempt, and go to it."""
        form, name = await _form(request), request.path_params["name"]

        def begin() -> Response:
            challenge = self._services.catalogue.load(name)
            try:
                self._attempts.begin(challenge, _wish(form))
            except UserError as refused:
                return self._challenge(name, str(refused))
            return RedirectResponse(f"/attempt/{challenge.id}", 303)

        return await run_in_threadpool(begin)

    async def use(self, request: Request) -> Response:
        """Choose another attempt, one of those that are listed, and go to it."""
        form, name = await _form(request), request.path_params["name"]

        def choose() -> Response:
            challenge = self._services.catalogue.load(name)
            self._attempts.use(challenge, form.get("folder", ""))
            return RedirectResponse(f"/attempt/{challenge.id}", 303)

        return await run_in_threadpool(choose)

    async def attempt(self, request: Request) -> Response:
        """Show the editor and all that is known of the file."""

        def make() -> Response:
            challenge = self._services.catalogue.load(request.path_params["name"])
            if self._attempts.find(challenge) is None:
                return RedirectResponse(f"/challenge/{challenge.id}", 303)
            live = self._attempts.open(challenge.id)
            file = read_text_of(live.options.path)
            return self._page(
                "attempt.html.j2",
                challenge=live.options.challenge,
                brief=_markdown(live.options.challenge.brief),
                path=str(live.options.path),
                text=file.text if file.text is not None else file.raw.decode("utf-8", "replace"),
                digest=file.digest,
                editable=file.text is not None,
                why_fixed=file.why,
                first=live.is_new,
                state=Markup(live.piece.html),
            )

        return await run_in_threadpool(make)

    async def events(self, request: Request) -> Response:
        """Send the newest state at once and whenever there is another one."""
        live = self._attempts.opened(request.path_params["name"])
        listener = live.listen()
        if listener is None:
            return JSONResponse({"problem": "Too many pages show this attempt."}, 503)

        async def stream() -> AsyncIterator[bytes]:
            sent = -1
            try:
                while True:
                    piece = live.piece
                    if piece.number != sent:
                        yield _event(piece)
                        sent = piece.number
                    if piece.last:
                        yield b"event: ended\ndata: ended\n\n"
                        return
                    if not await listener.news(BEAT_SECONDS):
                        yield b": here\n\n"
            finally:
                live.forget(listener)

        return StreamingResponse(
            stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def file(self, request: Request) -> Response:
        """Return the file as it lies on the disk."""
        live = self._attempts.opened(request.path_params["name"])
        found = await run_in_threadpool(read_text_of, live.options.path)
        return JSONResponse(_file(found))

    async def save(self, request: Request) -> Response:
        """Save a text over the bytes that the page has seen; with 409 the page learns of others.

        `how` is `save`, `mine` (over the others, which become a backup) or `aside` (as a backup of its own).
        """
        asked = await _json(request)
        live = self._attempts.opened(request.path_params["name"])
        text, base, how = (asked.get(key) for key in ("text", "base", "how"))
        if not isinstance(text, str) or not isinstance(base, str):
            raise HTTPException(400, "A text and the digest of what it replaces are needed.")

        def save() -> Response:
            with live.saving:
                path = live.options.path
                try:
                    if how == "mine":
                        saved, kept = keep_mine(path, text, base)
                        return JSONResponse(_file(saved) | {"kept": kept})
                    if how == "aside":
                        return JSONResponse({"kept": put_aside(path, text)})
                    before = read_text_of(path).digest
                    saved = save_text(path, text, base)
                except Conflict as conflict:
                    return JSONResponse(_file(conflict.found), 409)
            if saved.digest == before:
                live.press("r")  # somebody who saves what is saved wants a verdict
            return JSONResponse(_file(saved))

        try:
            return await run_in_threadpool(save)
        except KvdojoError as error:
            return JSONResponse({"problem": escape_for_display(str(error))}, 422)

    async def steps(self, request: Request) -> Response:
        """Return the steps of the case in focus, as far as they are told."""
        live = self._attempts.opened(request.path_params["name"])
        try:
            document = await run_in_threadpool(live.steps)
        except KvdojoError as error:
            return JSONResponse({"problem": escape_for_display(str(error))}, 422)
        if document is None:
            return JSONResponse({"problem": "Nothing failed."}, 404)
        return Response(document, media_type="application/json")

    async def press(self, request: Request) -> Response:
        """Do what a key of the watch does; what comes of it comes as an event."""
        self._attempts.opened(request.path_params["name"]).press(request.path_params["key"])
        return Response(status_code=204)

    async def suspect(self, request: Request) -> Response:
        """Note a line that is suspected."""
        form = await _form(request)
        live = self._attempts.opened(request.path_params["name"])
        given = form.get("lines", "").strip(), form.get("why", "").strip()
        try:
            first, text = await run_in_threadpool(
                self._services.suspect, live.options.challenge, live.work, *given
            )
        except KvdojoError as error:
            return HTMLResponse(_fragment("said.html.j2", said=str(error), wrong=True))
        said = f"Noted: line {first}  {escape_for_display(text, columns=100)}"
        return HTMLResponse(_fragment("said.html.j2", said=said, wrong=False))

    async def log(self, request: Request) -> Response:
        """Return the history of the attempt."""
        live = self._attempts.opened(request.path_params["name"])
        lines = await run_in_threadpool(self._services.log, live.options.challenge, live.work)
        shown = escape_lines("\n".join(lines), lines=MOST_LOG) if lines else []
        return HTMLResponse(_fragment("log.html.j2", lines=shown))


async def _problem(request: Request, error: Exception) -> Response:
    """Tell an error that is meant for people."""
    unknown = isinstance(error, UnknownChallenge)
    title = "There is no such challenge" if unknown else "That does not work"
    lines = str(error).split("\n")[:20]
    return _page("problem.html.j2", 404 if unknown else 409, title=title, lines=lines)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "it is the handler of these alone"
    titles = {404: "There is no such page", 405: "That cannot be asked so"}
    title = titles.get(error.status_code, "That was not taken")
    lines = [] if error.status_code in titles else [error.detail]
    return _page("problem.html.j2", error.status_code, title=title, lines=lines)


def _page(template: str, status: int = 200, **values: Any) -> Response:
    values = {"here": "", "places": ()} | values
    return HTMLResponse(render_page(f"studio/{template}", **values), status)


def _fragment(template: str, **values: Any) -> str:
    return render_page(f"studio/{template}", **values)


def _markdown(text: str) -> Markup:
    """Return a brief as HTML; what is HTML in it already stays text."""
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    # the page has a first heading already
    for level in (5, 4, 3, 2, 1):
        made = made.replace(f"<h{level}>", f"<h{level + 1}>").replace(
            f"</h{level}>", f"</h{level + 1}>"
        )
    parts = made.split("<pre>")
    made = parts[0]
    for number, part in enumerate(parts[1:], 1):
        made += f'<pre tabindex="0" role="group" aria-label="code {number}">{part}'
    return Markup(made)


def _event(piece: Piece) -> bytes:
    """Return a piece of a page as one server-sent event."""
    lines = piece.html.replace("\r", "").split("\n")
    return ("".join(f"data: {line}\n" for line in lines) + "\n").encode("utf-8", "replace")


def _file(found: FileText) -> dict[str, Any]:
    return {"text": found.text, "digest": found.digest, "why": found.why}


def _wish(form: dict[str, str]) -> Wish:
    """Read which attempt is to be begun; raises HTTPException for what no form of ours sends."""
    replace = form.get("replace") == "yes"
    if "fresh" not in form:
        return Wish(preset=form.get("preset") or None, replace=replace)
    level = form.get("level") or None
    if level not in (None, *LEVELS):
        raise HTTPException(400, "There is no such level.")
    return Wish(None, _number(form, "fresh"), level, _number(form, "count", least=1), replace)


def _number(form: dict[str, str], name: str, least: int = 0) -> int | None:
    text = form.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= least):
        raise HTTPException(400, f"`{name}` is no number.")
    return int(text)


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form, at most a few short ones; raises HTTPException."""
    body = await request.body()
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HTTPException(400, "That is no form of this page.") from None
    return {name: value for name, value in pairs if len(value) <= 1000}


async def _json(request: Request) -> dict[str, Any]:
    """Return the JSON object of a body; raises HTTPException."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "JSON is expected.")
    try:
        asked = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise HTTPException(400, "That is no JSON.") from None
    if not isinstance(asked, dict):
        raise HTTPException(400, "A JSON object is expected.")
    return asked
