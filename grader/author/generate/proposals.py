"""All mistakes that the operators can make in one file, each as edits of whole lines that `kvdojo/bug/v1` wants.

What reads badly is left out here, before anything is run: a line that grew too long, doubled signs and brackets, a
comment beside the change that tells the right thing.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from grader.author.generate import (  # noqa: F401  importing them fills the table
    operators_of_logic,
    operators_of_number,
    operators_of_shape,
    operators_of_state,
)
from grader.author.generate.operator_table import OPERATORS, Operator
from grader.author.generate.source_text import Replacement, SourceText
from grader.content.edits_from_diff import Change, edits_of
from grader.content.entries import Edit
from grader.content.generated_bugs import PREFIX

WIDTH = 100  # a line may be so long, or as long as the longest line of the reference
SECOND_ORDER = 24  # pairs of mistakes in one statement that are proposed for one file
CLUMSY = re.compile(
    r"~~|not not|--|\+ -|- -|\(\(\w+\)\)|~\(~"
    r"|\+ 0\b|\* 1\b(?!\.)|\b0 \+|// 0\b|% 0\b|% 1\b|// 1\b|\[:0\]|\b1\.0 \*"
)
# x op x, and a comparison with itself, are no mistakes that anybody makes
_SAME = re.compile(r"(?<![\w.\])])([\w.\[\]]+) (?:==|!=|<=?|>=?|-|/|is) \1(?![\w.(\[])")
_IDLE = re.compile(r"^\s*(\w[\w.]*) = \1\s*(?:#.*)?$", re.MULTILINE)  # x = x
SECOND = "two mistakes"
# groups whose mistakes, made together, still read like one person's, and operators that are never paired
PAIRED = ("offset", "reduction")
ALONE = ("number_one_up", "number_one_down", "switch_turned")


@dataclass(frozen=True)
class Proposal:
    """One mistake: the operators that make it, the edits, and where it stands.

    `function` is the qualified name of the function that holds it, `line` the reference's line, and `before` and
    `after` the changed lines without indentation.
    """

    operators: tuple[str, ...]
    edits: tuple[Edit, ...]
    text: str
    function: str
    line: int
    before: str
    after: str

    @property
    def id(self) -> str:
        """A stable name made of the place and the change, which tells neither: `g-3f9c21`."""
        made = "\0".join(part for edit in self.edits for part in (edit.find, edit.replace))
        return f"{PREFIX}{sha256(made.encode()).hexdigest()[:8]}"

    @property
    def group(self) -> str:
        """The kind of mistake."""
        return SECOND if len(self.operators) > 1 else OPERATORS[self.operators[0]].group


def proposals(reference: str) -> list[Proposal]:
    """Return every proposal for a reference, in the order of the text; the same text gives the same list.

    Nothing comes out for a reference that is no Python, such as a JSON document.
    """
    try:
        source = SourceText(reference)
    except SyntaxError:
        return []
    if not any(isinstance(node, ast.FunctionDef) for node in ast.walk(source.tree)):
        return []
    known = {reference}
    changes = _changes(source)
    found: list[Proposal] = []
    usable: dict[ast.stmt, list[tuple[Operator, Replacement]]] = defaultdict(list)
    for node, operator, change in changes:
        proposal = _proposal(source, (operator,), (change,), known)
        if proposal is not None:
            found.append(proposal)
            statement = source.statement_of(node)
            if statement is not None:
                usable[statement].append((operator, change))
    found += _second_order(source, usable, known)
    return sorted(found, key=lambda proposal: (proposal.line, proposal.after))


def _changes(source: SourceText) -> list[tuple[ast.AST, Operator, Replacement]]:
    return [
        (node, operator, change)
        for node in source.nodes()
        for operator in OPERATORS.values()
        if isinstance(node, operator.nodes)
        for change in operator.make(node, source)
    ]


def _second_order(
    source: SourceText,
    usable: dict[ast.stmt, list[tuple[Operator, Replacement]]],
    known: set[str],
) -> Iterator[Proposal]:
    """Yield two mistakes of different groups in one simple statement, one pair a statement."""
    made = 0
    for statement, single in usable.items():
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.For | ast.If | ast.While):
            continue
        pairs = [
            (a, b)
            for i, a in enumerate(single)
            for b in single[i + 1 :]
            if a[0].group != b[0].group and {a[0].group, b[0].group} <= set(PAIRED)
            if a[0].name not in ALONE and b[0].name not in ALONE
            if a[1].end <= b[1].start or b[1].end <= a[1].start
        ]
        pairs.sort(key=lambda pair: sha256(repr((pair[0][1], pair[1][1])).encode()).digest())
        for (one, first), (other, second) in pairs[:3]:
            if made == SECOND_ORDER:
                return
            proposal = _proposal(source, (one, other), (first, second), known)
            if proposal is not None:
                made += 1
                yield proposal
                break


def _proposal(
    source: SourceText,
    operators: tuple[Operator, ...],
    changes: tuple[Replacement, ...],
    known: set[str],
) -> Proposal | None:
    """Return a proposal, or None when the text is no Python, is known already, or reads badly."""
    text = _tidied(source.text, changes)
    change = _changed_lines(source.text, text)
    if change is None or text in known or not _reads_well(source.text, change):
        return None
    if not _sound(source, text, change):
        return None
    known.add(text)
    old = source.text.splitlines(keepends=True)
    return Proposal(
        tuple(operator.name for operator in operators),
        edits_of(source.text, [change], {}, "the reference"),
        text,
        source.function_at(change.start + 1),
        change.start + 1,
        _bare(old[change.start : change.end]),
        _bare(change.lines),
    )


def _changed_lines(before: str, after: str) -> Change | None:
    """Return the lines that differ, from the first to the last; None where nothing does."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    head = _alike(old, new)
    tail = _alike(old[head:][::-1], new[head:][::-1])
    if head == len(old) == len(new):
        return None
    return Change(head, len(old) - tail, tuple(new[head : len(new) - tail]))


def _alike(one: list[str], other: list[str]) -> int:
    """Return how many lines are the same at the beginning."""
    same = [a == b for a, b in zip(one, other, strict=False)]
    return same.index(False) if False in same else len(same)


def _tidied(text: str, changes: Sequence[Replacement]) -> str:
    """Return the text with some changes, without brackets that they made needless, and comments that tell what went.

    A comment goes when it names what stands no longer beside it.  Where whole lines go, their neighbours stay.
    """
    made = text
    for replacement in sorted(changes, key=lambda change: -change.start):
        made = replacement.apply(made)
    change = _changed_lines(text, made)
    if change is None:
        return made
    old, new = text.splitlines(keepends=True), made.splitlines(keepends=True)
    for at, (was, line) in enumerate(
        zip(old[change.start : change.end], change.lines, strict=False), change.start
    ):
        new[at] = _tidied_line(line, was)
    return "".join(new)


def _tidied_line(line: str, was: str) -> str:
    bare, end = line.rstrip("\n"), line[len(line.rstrip("\n")) :]
    code, comment = _comment_of(_without_needless_brackets(bare, was.rstrip("\n")))
    gone = _words(_comment_of(was)[0]) - _words(code)
    told = comment and gone & _words(comment)
    return (code.rstrip() if told else code + comment) + end


def _without_needless_brackets(line: str, was: str) -> str:
    """Return a line without brackets that a change made needless; those that were needless before it stay.

    >>> _without_needless_brackets("y = (a + b)", "y = (a + b) * c")
    'y = a + b'
    """
    before = [was[first:last] for first, last in _needless_brackets(was)]
    while len(needless := _needless_brackets(line)) > len(before):
        new = [(first, last) for first, last in needless if line[first:last] not in before]
        first, last = (new or needless)[-1]
        line = line[:first] + line[first + 1 : last] + line[last + 1 :]
    return line


def _needless_brackets(line: str) -> list[tuple[int, int]]:
    """Return where brackets open and close that change nothing of what a line says."""
    code = _comment_of(line)[0]
    found: list[tuple[int, int]] = []
    opened: list[int] = []
    for at, character in enumerate(code):
        if character == "(":
            opened.append(at)
        elif character == ")" and opened:
            first = opened.pop()
            bare = f"{code[:first]}{code[first + 1 : at]}{code[at + 1 :]}"
            if _groups(code, first) and _same_tree(_alone(bare), _alone(code)):
                found.append((first, at))
    return sorted(found)


def _groups(code: str, at: int) -> bool:
    """Whether a bracket holds an expression together, and does not call what stands before it."""
    before = re.search(r"([\w\])]*)\s*$", code[:at])
    word = before[1] if before else ""
    return not word or keyword.iskeyword(word)


def _alone(line: str) -> str:
    """Return one line as a text that parses alone, whatever block or bracket it opens."""
    line = line.strip()
    return f"{line} pass" if _comment_of(line)[0].rstrip().endswith(":") else line


def _sound(source: SourceText, after: str, change: Change) -> bool:
    """Whether a text parses, means something else, and leaves no variable unread that was read before.

    Only the function that holds the change is parsed.
    """
    first, last = source.block_at(change.start + 1)
    grown = len(change.lines) - (change.end - change.start)
    try:
        old = _reading(_alone_as_block(source.text.splitlines(keepends=True)[first:last]))
        new = _reading(_alone_as_block(after.splitlines(keepends=True)[first : last + grown]))
    except SyntaxError:
        return False
    return old.meaning != new.meaning and new.unread <= old.unread


def _alone_as_block(lines: list[str]) -> str:
    """Return the lines of a definition as a text that parses alone, however far it is indented."""
    text = "".join(lines)
    return f"if True:\n{text}" if text[:1].isspace() else text


@dataclass(frozen=True)
class _Reading:
    """What a function says; `unread` are its local variables that nothing reads."""

    meaning: str
    unread: frozenset[str]


@lru_cache(maxsize=64)
def _reading(text: str) -> _Reading:
    tree = ast.parse(text)
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id != "_"]
    read = {n.id for n in names if isinstance(n.ctx, ast.Load)}
    unread = {n.id for n in names if n.id not in read}
    return _Reading(ast.dump(tree), frozenset(unread))


def _same_tree(one: str, other: str) -> bool:
    try:
        return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except SyntaxError:
        return False


def _comment_of(line: str) -> tuple[str, str]:
    """Part a line into code and comment; a `#` within a text is no comment."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(line.strip() + "\n").readline):
            if token.type == tokenize.COMMENT:
                at = line.rindex(token.string)
                return line[:at], line[at:]
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass
    return line, ""


def _words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]{2,}|[<>=]=?", text))


def _reads_well(before: str, change: Change) -> bool:
    limit = max(WIDTH, *map(len, before.splitlines()))
    new = "".join(change.lines)
    old = "".join(before.splitlines(keepends=True)[change.start : change.end])
    if any(len(line) > limit for line in new.splitlines()):
        return False
    if _IDLE.search(new) or ((same := _SAME.search(new)) and same[0] not in old):
        return False
    return not any(match[0] not in old for match in CLUMSY.finditer(new))


def _bare(lines: tuple[str, ...] | list[str]) -> str:
    return "\n".join(_comment_of(line)[0].strip() for line in lines)
