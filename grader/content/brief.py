"""A brief, sentence by sentence, with the cases and ranges that check each one.

An author says behind a sentence what checks it, in a comment that learners do not see:

    The output has the query's dtype. <!-- cases: half-precision, brain-float -->
    `scale` may be 0 or negative. <!-- ranges: forward.scale -->

A row of a table and a block of code count as one sentence each; the comment of a block of code follows it on a line of
its own.  `<!-- no promise -->` stands behind a sentence that promises nothing, or alone below a heading for all
up to the next one.  A line that leads into a list needs no comment, its items do.

    cases      ids in cases.json
    ranges     what random scenarios draw: `verb`, `verb.parameter`, `verb.spoil`, `setup.size`, `setup.dtypes`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
HIDDEN = re.compile(
    r"(^```.*?^```)|^[ \t]*<!--.*?-->[ \t]*\n|[ \t]*<!--.*?-->", re.DOTALL | re.MULTILINE
)
SENTENCE = re.compile(r"\s*(.+?(?:[.!?]\x00*(?=\s|$)|$))", re.DOTALL)
NOTHING = "no promise"
KEYS = ("cases", "ranges")


@dataclass(frozen=True)
class Promise:
    """One sentence of a brief.

    - `text`, `line`: the sentence without its comment, and the line of brief.md where its paragraph begins, from 1;
    - `cases`, `ranges`: what its comment names;
    - `nothing`: whether it is said to promise nothing;
    - `fault`: what is wrong with the comment itself, empty where nothing is.
    """

    text: str
    line: int
    cases: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    nothing: bool = False
    fault: str = ""

    @property
    def kept(self) -> bool:
        """Whether something checks it, or nothing has to."""
        return bool(self.cases or self.ranges or self.nothing)


def without_comments(text: str) -> str:
    """Return a brief as learners see it: comments go, and so do lines that hold nothing else."""
    return HIDDEN.sub(
        lambda found: found[1] or "", text
    )  # what looks like one in a block of code stays


def promises(text: str) -> list[Promise]:
    """Return the sentences of a brief in their order, headings left out."""
    from markdown_it import MarkdownIt  # a grading strips comments alone and need not wait for it

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    found: list[Promise] = []
    silent = False  # whether all up to the next heading promises nothing
    for index, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "heading_open":
            silent = False
        elif token.type == "html_block":
            if tokens[index - 1].type == "heading_close" and _comment(token.content) == NOTHING:
                silent = True
        elif silent:
            continue
        elif token.type == "fence":
            found += _sentences(f"```{token.content}```", [_comment_behind(tokens, index)], line)
        elif token.type == "tr_open" and tokens[index - 1].type != "thead_open":
            cells = [_marked(cell.children or []) for cell in _row(tokens, index)]
            comments = [comment for _, own in cells for comment in own]
            found += _sentences(" | ".join(text for text, _ in cells), comments, line, whole=True)
        elif _is_paragraph(tokens, index) and not _leads_into_a_list(tokens, index):
            found += _sentences(*_marked(token.children or []), line)
    return found


def _row(tokens: Sequence[Token], index: int) -> Iterator[Token]:
    for token in tokens[index:]:
        if token.type == "tr_close":
            return
        if token.type == "inline":
            yield token


def _is_paragraph(tokens: Sequence[Token], index: int) -> bool:
    return tokens[index].type == "inline" and tokens[index - 1].type == "paragraph_open"


def _leads_into_a_list(tokens: Sequence[Token], index: int) -> bool:
    after = tokens[index + 2].type if index + 2 < len(tokens) else ""
    ends = without_comments(tokens[index].content).rstrip()[-1:]
    return after in ("bullet_list_open", "ordered_list_open") and ends not in ".!?"


def _comment_behind(tokens: Sequence[Token], index: int) -> str:
    after = tokens[index + 1 : index + 2]
    return _comment(after[0].content) if after and after[0].type == "html_block" else ""


def _comment(text: str) -> str:
    found = COMMENT.search(text)
    return " ".join(found[1].split()) if found else ""


def _marked(children: Sequence[Token]) -> tuple[str, list[str]]:
    """Return a paragraph with a NUL for each comment, and the comments.

    Full stops within code end no sentence, nor do those in bold, as in `**Turns.** A turn is ...`.
    """
    text, comments, bold = "", list[str](), False
    for child in children:
        bold = child.type == "strong_open" or (bold and child.type != "strong_close")
        if child.type == "html_inline" and COMMENT.match(child.content):
            text = text.rstrip() + "\0"
            comments.append(_comment(child.content))
        elif child.type == "code_inline":
            text += f"`{child.content}`".translate(_IN_CODE)
        elif child.type in ("softbreak", "hardbreak"):
            text += " "
        else:
            text += child.content.translate(_IN_CODE) if bold else child.content
    return text, comments


_IN_CODE = {ord("."): "\1", ord("!"): "\2", ord("?"): "\3"}
_OUT_OF_CODE = {1: ".", 2: "!", 3: "?"}


def _sentences(
    text: str, comments: Sequence[str], line: int, *, whole: bool = False
) -> Iterator[Promise]:
    """Yield the sentences of a paragraph, or all of it (`whole`, code) as one."""
    rest = iter(comments)
    if whole or text.startswith("```"):
        yield _promise(text.replace("\0", " "), list(filter(None, comments)), line)
        return
    for piece in SENTENCE.findall(text):
        own = [next(rest) for _ in range(piece.count("\0"))]
        if words := piece.replace("\0", " ").strip():
            yield _promise(words, own, line)


def _promise(text: str, comments: Sequence[str], line: int) -> Promise:
    words = " ".join(text.translate(_OUT_OF_CODE).split())
    named: dict[str, list[str]] = {key: [] for key in KEYS}
    nothing, fault = False, ""
    for comment in comments:
        if comment == NOTHING:
            nothing = True
            continue
        for part in comment.split(";"):
            key, colon, names = part.partition(":")
            if colon and key.strip() in KEYS and names.strip():
                named[key.strip()] += [name.strip() for name in names.split(",")]
            else:
                choice = f"`cases: ID, ID`, `ranges: VERB.NAME` or `{NOTHING}`"
                fault = f"`<!-- {comment[:60]} -->` is not understood; write {choice}"
    if nothing and (named["cases"] or named["ranges"]):
        fault = "is said to promise nothing and to be checked"
    return Promise(words, line, tuple(named["cases"]), tuple(named["ranges"]), nothing, fault)
