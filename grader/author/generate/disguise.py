"""A file under another look: other names for locals, methods in another order, equal idioms, fewer comments.

Who remembers a published reference then finds that the remembered text does not fit.  The meaning is meant
to stay; whoever uses a disguise runs all cases on the disguised reference first, as the tests do.

What is changed follows from a number and from each place itself, so a reference and the same reference with a bug in it
get the same disguise everywhere but at the bug.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from difflib import SequenceMatcher
from hashlib import sha256
from itertools import pairwise

from grader.author.generate.operator_table import called, plain, whole
from grader.author.generate.source_text import Function, Replacement, SourceText
from grader.content import Bug, Challenge, ContentError
from grader.content.edits_from_diff import Change, edits_of
from grader.content.entries import Edit
from grader.content.generated_bugs import OVERLAP
from grader.content.planting import line_span, plant

SYNONYMS: dict[str, tuple[str, ...]] = {
    "keys": ("k_rows", "k_all"), "values": ("v_rows", "v_all"), "weights": ("probs", "attn"),
    "scores": ("logits", "sims"), "out": ("mixture", "outcome"), "visible": ("allowed", "seen_mask"),
    "lse": ("log_total", "log_norm"), "first": ("begin", "lower"), "total": ("norm", "sum_exp"),
    "start": ("base", "origin"), "slots": ("cells", "places"), "top": ("peak", "running_max"),
    "inside": ("valid", "in_range"), "wide": ("full_type", "acc_dtype"), "heads": ("head_ids", "head_map"),
    "offset": ("shift_by", "displacement"), "part": ("piece_id", "fragment"), "acc": ("running", "accum"),
    "pivot": ("anchor", "reference_max"), "divisor": ("denom", "denominator"), "factor": ("multiplier", "coeff"),
    "before": ("older", "preceding"), "new_top": ("next_peak", "updated_max"), "decay": ("rescale", "shrink"),
    "token": ("tok", "item"), "empty": ("nothing", "vacant"), "new_cache": ("next_cache", "cache_out"),
    "mixed": ("blended", "combined"), "filled": ("occupied", "used"), "index": ("where_to", "positions_of"),
    "newest": ("latest", "most_recent"), "context": ("attended_values", "mix"), "pieces": ("segments", "runs"),
    "total_len": ("full_len", "all_tokens"), "hidden": ("masked_out", "suppressed"), "angles": ("phases", "theta"),
    "positions": ("places_of", "pos"), "count": ("amount", "number"), "output": ("final", "outcome"),
    "past_k": ("old_k", "k_before"), "past_v": ("old_v", "v_before"), "query_pos": ("row_pos", "q_index"),
    "key_pos": ("col_pos", "k_index"), "blocked": ("minus_inf", "excluded"), "dropped": ("thinned", "after_dropout"),
    "products": ("dots", "raw_scores"), "group": ("share", "per_kv_head"), "tile": ("section", "slab"),
    "unused": ("stale", "unfilled"), "grown": ("extended", "longer"), "new_keys": ("k_out", "next_k"),
    "new_values": ("v_out", "next_v"), "half": ("middle", "halfway"), "missing": ("lacking", "shortfall"),
    "target": ("destination", "receiver"), "source": ("origin_of", "giver"), "pairs": ("couples", "kv_pairs"),
    "result": ("finished", "answer_row"), "whole": ("complete", "combined_lse"), "future": ("ahead", "later"),
    "o_row": ("out_base", "dest_row"), "q_row": ("query_base", "src_row"), "page": ("page_no", "page_id"),
    "exponents": ("powers", "exps"), "frequencies": ("freqs", "rates"), "kept": ("retained", "survivors"),
}  # fmt: skip
FLIPPED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", ">"), ast.Gt: (">", "<"), ast.LtE: ("<=", ">="), ast.GtE: (">=", "<="),
}  # fmt: skip
WIDTH = 100
_KEPT_COMMENT = re.compile(r"#\s*(fmt|noqa|type|pragma|ruff)\b")
Step = Callable[[str, int], str]


def disguise(text: str, seed: int) -> str:
    """Return a Python file that does the same and looks different; the same number gives the same text."""
    for step in (other_idioms, other_names, fewer_comments, other_order):
        text = step(text, seed)
    return text


def disguised_challenge(challenge: Challenge, seed: int) -> Challenge:
    """Return the challenge whose reference, bugs and decoys are disguised alike.

    The reference's file stays where it is: goldens and traces are made with it.  Raises ContentError for a reference
    that is no Python.  Two entries that now touch one line exclude each other.
    """
    if challenge.reference.suffix != ".py":
        raise ContentError(f"{challenge.id!r}: only a reference in Python can be disguised")
    reference = disguise(challenge.reference_text, seed)
    made = copy(challenge)
    made.__dict__.pop("_known_bugs", None)
    made.__dict__["reference_text"] = reference
    old = reference.splitlines(keepends=True)
    changes = {
        name: _differences(old, disguise(plant(challenge, [name]), seed).splitlines(keepends=True))
        for name in challenge.bugs
    }
    bugs = {
        name: replace(bug, edits=_edits(challenge, bug, reference, changes))
        for name, bug in challenge.bugs.items()
    }
    lines = {
        name: {line for edit in bug.edits for line in line_span(reference, edit)}
        for name, bug in bugs.items()
    }
    made.__dict__["bugs"] = {
        name: replace(bug, excludes={**_overlapping(name, lines), **bug.excludes})
        for name, bug in bugs.items()
    }
    return made


def _overlapping(name: str, lines: Mapping[str, set[int]]) -> dict[str, str]:
    """Return the entries that touch a line of an entry under this disguise, which they need not have done before."""
    return {other: OVERLAP for other in lines if other != name and lines[other] & lines[name]}


def _edits(
    challenge: Challenge, bug: Bug, reference: str, changes: Mapping[str, list[Change]]
) -> tuple[Edit, ...]:
    """Return the edits of an entry, kept off the lines of those that it may be planted with."""
    others = (
        name
        for name, other in challenge.bugs.items()
        if name != bug.id and name not in bug.excludes and bug.id not in other.excludes
    )
    taken = {
        line: name
        for name in others
        for change in changes[name]
        for line in range(change.start, change.end)
    }
    return edits_of(reference, changes[bug.id], taken, bug.id)


def _differences(old: list[str], new: list[str]) -> list[Change]:
    codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [Change(a, b, tuple(new[c:d])) for tag, a, b, c, d in codes if tag != "equal"]


def other_names(text: str, seed: int) -> str:
    """Give local variables other names; parameters, which a caller may name, keep theirs.

    >>> text = "def f(x):\\n    scores = x + 1\\n    return scores\\n"
    >>> sorted({other_names(text, seed).splitlines()[1].strip() for seed in range(20)})
    ['logits = x + 1', 'scores = x + 1', 'sims = x + 1']
    """
    source = SourceText(text)
    changes: list[Replacement] = []
    widths = [len(line) for line in text.splitlines()]
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            taken: set[str] = set()
            for name in sorted(_locals(node)):
                choice = _synonym(source, node, name, seed)
                uses = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n.id == name]
                if choice is None or choice in taken or not _room(widths, uses, choice):
                    continue
                taken.add(choice)
                changes += [source.replaced(use, choice) for use in uses]
    return _applied(text, changes)


def _room(widths: list[int], uses: list[ast.Name], choice: str) -> bool:
    """Whether no line gets too long by another name; `widths` are then the new ones."""
    wider = Counter(use.lineno - 1 for use in uses)
    grown = {line: widths[line] + n * (len(choice) - len(uses[0].id)) for line, n in wider.items()}
    if any(width > max(WIDTH, widths[line]) for line, width in grown.items()):
        return False
    for line, width in grown.items():
        widths[line] = width
    return True


def _locals(function: Function) -> set[str]:
    """Return the names that can be changed: bound in the function by assignments alone, and in no f-string."""
    inner = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
    nodes = list(ast.walk(function))
    if any(isinstance(n, inner) and n is not function for n in nodes):
        return set()
    given = function.args
    everything = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    bound = {a.arg for a in everything if a is not None}
    for node in nodes:
        if isinstance(node, ast.Global | ast.Nonlocal):
            bound |= set(node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.JoinedStr):
            bound |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        elif called(node) in ("locals", "vars", "eval", "exec"):
            return set()
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored - bound


def _synonym(source: SourceText, function: Function, name: str, seed: int) -> str | None:
    """Return another name that stands nowhere in the file; a third of the variables keep theirs."""
    options = [new for new in SYNONYMS.get(name, ()) if not re.search(rf"\b{new}\b", source.text)]
    drawn = _draw(seed, function.name, name, 3 * len(options))
    return options[drawn % len(options)] if options and drawn < 2 * len(options) else None


def other_order(text: str, seed: int) -> str:
    """Put the methods of a class into another order; `__init__` and what is decorated stay in front.

    >>> text = "class A:\\n    def f(self):\\n        return 1\\n\\n    def g(self):\\n        return 2\\n"
    >>> sorted({other_order(text, seed).index("def g") for seed in range(20)})
    [13, 48]
    """
    lines = text.splitlines(keepends=True)
    for node in SourceText(text).tree.body:
        if isinstance(node, ast.ClassDef):
            _reorder(lines, node, seed)
    return "".join(lines)


def _reorder(lines: list[str], node: ast.ClassDef, seed: int) -> None:
    """Permute a run of plain methods at the end of a class, in place; each takes the comments above it along."""
    run: list[Function] = []
    for statement in node.body:
        movable = isinstance(statement, Function) and not statement.decorator_list
        if movable and isinstance(statement, Function) and not statement.name.startswith("__"):
            run.append(statement)
        else:
            run = []
    if len(run) < 2:
        return
    spans: list[tuple[int, int]] = []
    for function in run:
        start = function.lineno - 1
        while lines[start - 1].lstrip().startswith("#"):
            start -= 1
        spans.append((start, function.end_lineno or function.lineno))
    order = sorted(range(len(run)), key=lambda i: _draw(seed, node.name, run[i].name, 1 << 30))
    blocks = [lines[start:end] for start, end in spans]
    gaps = [lines[a[1] : b[0]] for a, b in pairwise(spans)]
    made: list[str] = []
    for place, chosen in enumerate(order):
        made += [*blocks[chosen], *(gaps[place] if place < len(gaps) else [])]
    lines[spans[0][0] : spans[-1][1]] = made


def other_idioms(text: str, seed: int) -> str:
    """Say some things in another way that means the same to the last bit.

    >>> sorted({other_idioms("y = torch.softmax(x, dim=-1)", seed) for seed in range(20)})
    ['y = torch.softmax(x, dim=-1)', 'y = x.softmax(dim=-1)']
    """
    source = SourceText(text)
    changes: list[Replacement] = []
    for node in source.nodes():
        for change in _idioms(node, source):
            function = source.function_of(node)
            place = function.name if function else ""
            if _draw(seed, place, source.of(node), 2):
                changes.append(change)
    return _applied(text, [change for change in changes if _fits(text, change)])


def _fits(text: str, change: Replacement) -> bool:
    """Whether the line that a change is in stays within the width of a line."""
    start = text.rfind("\n", 0, change.start) + 1
    end = text.find("\n", change.end) + 1 or len(text)
    return end - start + len(change.text) - (change.end - change.start) <= WIDTH + 1


def _idioms(node: ast.AST, source: SourceText) -> Iterator[Replacement]:
    if isinstance(node, ast.Call) and source.of(node.func) == "torch.softmax":
        if len(node.args) == 1 and plain(node.args[0]):
            rest = ", ".join(source.of(k) for k in node.keywords)
            yield source.replaced(node, f"{source.of(node.args[0])}.softmax({rest})")
    elif isinstance(node, ast.Call) and source.of(node.func) == "torch.cat" and node.args:
        pieces = node.args[0]
        if isinstance(pieces, ast.List) and len(pieces.elts) > 1:
            yield source.replaced(pieces, f"({source.of(pieces)[1:-1]})")
    elif isinstance(node, ast.Call) and called(node) == "transpose":
        axes = [whole(a) for a in node.args]
        if axes in ([-2, -1], [2, 3], [1, 2]) and isinstance(node.func, ast.Attribute):
            yield Replacement(
                source.span(node.args[0])[0],
                source.span(node.args[1])[1],
                f"{axes[1]}, {axes[0]}",
            )
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in FLIPPED:
        left, right = node.left, node.comparators[0]
        old, new = FLIPPED[type(node.ops[0])]
        middle = source.text[source.span(left)[1] : source.span(right)[0]]
        if plain(left) and plain(right) and middle.strip() == old:
            yield source.replaced(node, f"{source.of(right)} {new} {source.of(left)}")
    elif isinstance(node, ast.IfExp) and isinstance(node.test, ast.Compare):
        test = node.test
        if isinstance(test.ops[0], ast.Is) and not isinstance(node.orelse, ast.IfExp):
            asked = f"{source.of(test.left)} is not {source.of(test.comparators[0])}"
            text = f"{source.of(node.orelse)} if {asked} else {source.of(node.body)}"
            if "\n" not in source.of(node):
                yield source.replaced(node, text)


def fewer_comments(text: str, seed: int) -> str:
    """Take away half of the comments that stand behind code; what speaks to a tool stays.

    >>> {fewer_comments("x = 1  # one\\n", seed) for seed in range(9)} == {"x = 1  # one\\n", "x = 1\\n"}
    True
    """
    lines = text.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or _KEPT_COMMENT.match(token.string):
            continue
        line = lines[token.start[0] - 1]
        code = line[: token.start[1]]
        if code.strip() and _draw(seed, "#", token.string, 2):
            lines[token.start[0] - 1] = code.rstrip() + "\n"
    return "".join(lines)


def _applied(text: str, changes: Iterable[Replacement]) -> str:
    """Make changes from the end backwards; of two that overlap the later one is left out."""
    end = len(text)
    for change in sorted(changes, key=lambda change: (-change.start, change.end)):
        if change.end <= end:
            text, end = change.apply(text), change.start
    return text


def _draw(seed: int, place: str, name: str, below: int) -> int:
    """Return a number below a bound that follows from the seed and the place alone."""
    made = sha256(f"{seed}/{place}/{name}".encode()).digest()
    return int.from_bytes(made[:6]) % max(below, 1)
