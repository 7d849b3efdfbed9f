"""The pages around results, as `make demo` writes them: a landing page, and the brief of each challenge.

Self-contained and without a script, as all pages are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from grader.content import Challenge
from grader.judge.result import Result
from grader.report.html_report import MARKS
from grader.report.page_template import render_page

HARDEST = 5  # difficulties go from 1 to this


@dataclass(frozen=True)
class Link:
    """A page of one graded file: where it lies, what the file is called, and its result."""

    href: str
    file: str
    result: Result


@dataclass(frozen=True)
class Attempt:
    """How far one attempt has come, in words; `passed` says whether its last grading passed."""

    text: str
    passed: bool


@dataclass(frozen=True)
class Card:
    """A challenge on the landing page; `brief` is the address of its brief."""

    challenge: Challenge
    brief: str
    links: Sequence[Link] = ()
    attempts: Sequence[Attempt] = field(default=())


def index_page(cards: Sequence[Card], begin: str) -> str:
    """Return the landing page, easiest challenge first; `begin` is a command to begin with."""
    ordered = sorted(cards, key=lambda card: (card.challenge.difficulty, card.challenge.id))
    return render_page("index.html.j2", cards=ordered, begin=begin, marks=MARKS, hardest=HARDEST)


def brief_page(challenge: Challenge, index: str) -> str:
    """Return the brief as a page that leads back to `index`."""
    return render_page(
        "brief.html.j2", challenge=challenge, text=_as_html(challenge.brief), index=index
    )


def _as_html(text: str) -> Markup:
    """Return Markdown as HTML; markup in it is shown and never followed."""
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Reachable).enable("table")
    tokens = parser.parse(text)
    for opened, content, closed in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if opened.type != "th_open":
            continue
        if content.content:
            opened.attrSet("scope", "col")
        else:
            opened.tag = closed.tag = "td"  # a header without a word heads nothing
    return Markup(parser.renderer.render(tokens, parser.options, {}))


class _Reachable(RendererHTML):
    """Writes tables and code, which may be wider than the window, so that a keyboard can scroll them."""

    def table_open(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        """Open a table in a box."""
        table = self.renderToken(tokens, at, options, env)
        return f'<div class="wide" {self._reached("Table", env)}>{table}'

    def table_close(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        """Close the table and its box."""
        return f"{self.renderToken(tokens, at, options, env)}</div>\n"

    def fence(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
        """Write a block of code."""
        block: str = super().fence(tokens, at, options, env)
        return block.replace("<pre", f"<pre {self._reached('Code', env)}", 1)

    def _reached(self, kind: str, env: EnvType) -> str:
        env[kind] = env.get(kind, 0) + 1
        return f'tabindex="0" role="group" aria-label="{kind} {env[kind]}"'
