"""The pages for authors and instructors, which name bugs and are therefore only there when they are asked for.

    /authors               the challenges
    /authors/ID            which case catches which bug, with filters
    /authors/ID/case       a new case
    /authors/ID/check      what is wrong with it (POST), /worth what it is worth (POST)
    /class                 the class of a finished batch
    /class/files           two of its files side by side

Nothing is written: a case that is worth it is added by `kvdojo case add`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from grader.content import Catalogue, Challenge, ContentError
from grader.ground.display import escape_for_display
from grader.ground.errors import KvdojoError
from grader.ground.invocation import command_line
from grader.report.class_report import WORDS, still_wrong
from grader.report.html_report import MARKS
from grader.report.page_template import render_page
from grader.studio.case_trial import begun_case, faults_of, worth_of
from grader.studio.class_folder import REFERENCE, STARTER, ClassFolder
from grader.studio.recorded_matrix import MatrixFilter, recorded_matrix

MOST_FIELDS = 8


@dataclass(frozen=True)
class Place:
    """A page that every page leads to."""

    href: str
    title: str


AUTHORS, CLASS = Place("/authors", "Authors"), Place("/class", "Class")


def instructor_routes(
    catalogue: Catalogue, authors: bool, class_folder: ClassFolder | None
) -> tuple[list[BaseRoute], tuple[Place, ...]]:
    """Return the routes of the pages that are wanted, and the places that lead to them."""
    places = (*([AUTHORS] if authors else []), *([CLASS] if class_folder else []))
    pages = _Pages(catalogue, class_folder, places)
    routes: list[BaseRoute] = []
    if authors:
        routes += [
            Route("/authors", pages.authors),
            Route("/authors/{name}", pages.matrix),
            Route("/authors/{name}/case", pages.case),
            Route("/authors/{name}/check", pages.check, methods=["POST"]),
            Route("/authors/{name}/worth", pages.worth, methods=["POST"]),
        ]
    if class_folder is not None:
        routes += [Route("/class", pages.of_class), Route("/class/files", pages.files)]
    return routes, places


class _Pages:
    """The answers; what reads or runs does so in a thread."""

    def __init__(
        self, catalogue: Catalogue, class_folder: ClassFolder | None, places: tuple[Place, ...]
    ) -> None:
        self._catalogue, self._class, self._places = catalogue, class_folder, places

    async def authors(self, request: Request) -> Response:
        """Lead to the matrix of each challenge."""

        def make() -> Response:
            rows, faults = [], []
            for name in self._catalogue.ids():
                try:
                    challenge = self._catalogue.load(name)
                except ContentError as error:
                    faults.append(str(error))
                    continue
                kinds = [bug.kind for bug in challenge.bugs.values()]
                rows.append((challenge, kinds.count("bug"), kinds.count("decoy")))
            return self._page("authors.html.j2", AUTHORS, rows=rows, faults=faults)

        return await run_in_threadpool(make)

    async def matrix(self, request: Request) -> Response:
        """Show which case catches which bug; a script that asks gets the part behind the filters alone."""
        given = dict(request.query_params)
        part = request.headers.get("hx-request") == "true"

        def make() -> Response:
            challenge = self._catalogue.load(request.path_params["name"])
            wanted = MatrixFilter.of(given)
            values = {
                "challenge": challenge,
                "found": recorded_matrix(challenge, wanted),
                "wanted": wanted,
            }
            if part:
                return HTMLResponse(_fragment("matrix_part.html.j2", **values))
            return self._page("matrix.html.j2", AUTHORS, **values)

        return await run_in_threadpool(make)

    async def case(self, request: Request) -> Response:
        """Show the form for a new case."""

        def make() -> Response:
            from grader.author.skeleton import verbs

            challenge = self._catalogue.load(request.path_params["name"])
            return self._page(
                "new_case.html.j2",
                AUTHORS,
                challenge=challenge,
                text=begun_case(challenge),
                verbs=verbs(challenge),
                add=command_line("case", "add", challenge.id, "my-case.json"),
            )

        return await run_in_threadpool(make)

    async def check(self, request: Request) -> Response:
        """Tell what is wrong with a case."""
        challenge, text = await self._case_of(request)
        found = await run_in_threadpool(faults_of, challenge, text)
        return HTMLResponse(_fragment("case_faults.html.j2", found=found))

    async def worth(self, request: Request) -> Response:
        """Tell what a case is worth; this takes some seconds."""
        challenge, text = await self._case_of(request)
        try:
            found = await run_in_threadpool(worth_of, challenge, text)
        except KvdojoError as error:
            lines = [escape_for_display(line) for line in str(error).split("\n")[:20]]
            return HTMLResponse(_fragment("case_worth.html.j2", found=None, problem=lines))
        return HTMLResponse(_fragment("case_worth.html.j2", found=found, problem=[]))

    async def of_class(self, request: Request) -> Response:
        """Show learners, bugs and files that are alike."""
        folder = self._folder()

        def make() -> Response:
            summary = folder.summary()
            return self._page(
                "class.html.j2",
                CLASS,
                challenge=folder.challenge,
                summary=summary,
                words=WORDS,
                marks={**MARKS, "interrupted": "–", "waiting": "–"},
                still_wrong=still_wrong,
                known={row.entry.id: row.entry for row in summary.rows},
                starter=STARTER,
            )

        return await run_in_threadpool(make)

    async def files(self, request: Request) -> Response:
        """Show two files side by side."""
        folder = self._folder()
        asked = request.query_params

        def make() -> Response:
            names = folder.names()
            left = asked.get("left", STARTER)
            right = asked.get("right", names[-1] if len(names) > 2 else REFERENCE)
            shown = folder.file(left), folder.file(right)
            return self._page(
                "side_by_side.html.j2",
                CLASS,
                challenge=folder.challenge,
                names=names,
                chosen=(left, right),
                shown=shown,
            )

        return await run_in_threadpool(make)

    def _folder(self) -> ClassFolder:
        assert self._class is not None, "its routes are there only with a class"
        return self._class

    async def _case_of(self, request: Request) -> tuple[Challenge, str]:
        """Return the challenge and the text that a form sent; raises UnknownChallenge and HTTPException."""
        challenge = await run_in_threadpool(self._catalogue.load, request.path_params["name"])
        given = await _fields(request)
        if "case" not in given:
            raise HTTPException(400, "A case is needed.")
        return challenge, given["case"]

    def _page(self, template: str, here: Place, **values: Any) -> Response:
        page = render_page(f"studio/{template}", here=here.href, places=self._places, **values)
        return HTMLResponse(page)


async def _fields(request: Request) -> Mapping[str, str]:
    try:
        text = (await request.body()).decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except (UnicodeDecodeError, ValueError):
        raise HTTPException(400, "That is no form.") from None


def _fragment(template: str, **values: Any) -> str:
    return render_page(f"studio/{template}", **values)
