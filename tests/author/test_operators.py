"""Operators make one small change each, and what they propose for the references reads like code."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest

from grader.author.generate.operator_table import OPERATORS, rewritten
from grader.author.generate.proposals import Proposal, proposals
from grader.author.generate.source_text import SourceText
from grader.author.generate.wording import TABLE
from grader.content import Catalogue
from grader.content.planting import apply_edits

REFERENCES = {name: Catalogue().load(name).reference for name in Catalogue().ids()}
PYTHON = sorted(name for name, path in REFERENCES.items() if path.suffix == ".py")


@cache
def made(name: str) -> tuple[Proposal, ...]:
    return tuple(proposals(REFERENCES[name].read_text("utf-8")))


def test_every_operator_has_words_and_an_example() -> None:
    assert OPERATORS.keys() == TABLE.keys()
    for operator in OPERATORS.values():
        assert "\n>>> " in (inspect.getdoc(operator.make) or ""), operator.name


def test_there_is_an_operator_of_every_group() -> None:
    groups = {operator.group for operator in OPERATORS.values()}
    assert groups >= {
        *("axis", "order", "off by one", "offset", "scale", "mask", "twin", "state", "alias"),
        *("dtype", "condition", "reduction", "grouped heads", "cache", "rotation", "kernels"),
    }


@pytest.mark.parametrize("name", PYTHON)
def test_a_proposal_is_one_edit_of_the_reference(name: str) -> None:
    reference = REFERENCES[name].read_text("utf-8")
    longest = max(100, *map(len, reference.splitlines()))
    found = made(name)
    assert len(found) > 100
    for proposal in found:
        ast.parse(proposal.text)
        assert proposal.text != reference
        assert apply_edits(reference, [("x", edit) for edit in proposal.edits]) == proposal.text
        assert all(reference.count(edit.find) == 1 for edit in proposal.edits)
        assert max(map(len, proposal.text.splitlines())) <= longest
        assert proposal.before != proposal.after
    assert len({proposal.text for proposal in found}) == len(found)
    assert len({proposal.id for proposal in found}) == len(found)


@pytest.mark.parametrize("name", PYTHON)
def test_a_proposal_changes_neighbouring_lines_only(name: str) -> None:
    old = REFERENCES[name].read_text("utf-8").splitlines()
    for proposal in made(name):
        new = proposal.text.splitlines()
        # the last lines of a file may go, so that nothing differs in what is left
        pairs, behind = zip(old, new, strict=False), zip(old[::-1], new[::-1], strict=False)
        head = next((i for i, (a, b) in enumerate(pairs) if a != b), len(new))
        tail = next((i for i, (a, b) in enumerate(behind) if a != b), len(new))
        places = len(proposal.before.splitlines()) + len(proposal.after.splitlines())
        assert head + 1 == proposal.line
        assert (len(old) - tail - head) + (len(new) - tail - head) <= places


def test_the_same_reference_gives_the_same_proposals() -> None:
    reference = REFERENCES["multi_head_attention"].read_text("utf-8")
    assert tuple(proposals(reference)) == made("multi_head_attention")


@pytest.mark.parametrize("text", ["", "{}", '{"cases": [1, 2]}', "def f(:\n", "x = 1\n", "\0"])
def test_nothing_is_proposed_for_what_is_no_reference_in_python(text: str) -> None:
    assert proposals(text) == []


@pytest.mark.parametrize(
    "text",
    [
        'def f(x: "dim=1") -> Tensor:\n    """Sum over dim=1."""\n    return x\n',
        'def f(n):\n    if not n:\n        raise ValueError(f"{n + 1} is too much: {n <= 2}")\n    return n\n',
        "@register(True)\nclass A:\n    x: Literal[1]\n",
        "import k as v\nfrom a import b\n",
    ],
)
def test_what_is_no_code_stays_as_it_is(text: str) -> None:
    changed = [line for p in proposals(text) if p.after for line in p.before.splitlines()]
    assert set(changed) <= {"if not n:"}  # what is said in an exception may only go with its check


def test_characters_outside_ascii_do_not_move_a_change() -> None:
    text = "def f(x):\n    s = 'größer äöü'; y = x.sum(dim=1)  # ü\n    return s, y\n"
    operator = OPERATORS["dim_of_call"].make
    assert rewritten(operator, text) == [
        text.replace("dim=1", "dim=0"),
        text.replace("dim=1", "dim=2"),
    ]


def test_a_comment_that_tells_what_is_gone_goes_too() -> None:
    text = "def f(scores, scale):\n    return scores / scale  # divided by scale\n"
    assert "def f(scores, scale):\n    return scores\n" in {p.text for p in proposals(text)}


def test_a_comment_that_says_nothing_of_it_stays() -> None:
    text = "def f(scores, scale):\n    return scores / scale  # [B, H, S, T]\n"
    assert text.replace(" / scale", "") in {p.text for p in proposals(text)}


def test_needless_brackets_go_with_what_they_held_together() -> None:
    text = "def f(a, b, c):\n    x = (a + b) * c\n    return x\n"
    found = {p.after for p in proposals(text)}
    assert "x = a + b" in found
    assert "x = a * c" in found


def test_brackets_go_that_a_change_made_needless_and_no_others() -> None:
    text = "def f(a, b, c):\n    x = (a, b)\n    y = (a.size(0, 1) - b) * c\n    return (y < c) | (y > a)\n"
    found = {p.after for p in proposals(text)}
    assert "y = a.size(0, 1) - b" in found
    assert "return y < c" in found
    assert "return (y < c) & (y > a)" in found
    assert "x = (b, a)" in found


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("total = total * decay + new", ("total = total * decay", "total = total * decay - new")),
        ("start = start + new", ("start = start",)),
        ("start = old + torch.arange(new)", ("start = old - torch.arange(new)",)),
        ("start = old + new.positions", ("start = old - new.positions",)),
        ("start = (old.mean() + 1e-6).rsqrt()", ("start = (old.mean() - 1e-6).rsqrt()",)),
        ("start = decay * (old @ new)", ("start = decay", "start = decay / (old @ new)")),
        ("start = decay * (old - new)", ("start = decay",)),
        ("start = decay * start", ("start = decay",)),
        ("start = old + self.proj(new)", ("start = old - self.proj(new)",)),
        ("start = old if new > 1 else new", ("start = old if new < 1 else new",)),
        ("start = [0] * new", ("start = [0]",)),
        ("start = 1.0 / math.sqrt(new)", ("start = 1.0", "start = 1.0 * math.sqrt(new)")),
        ("start = old * new", ("start = old / new",)),
        ("start = 2**20 * new // 2", ("start = 3**20 * new // 2", "start = 2**20 * new // 3")),
        ("start = new.float() if old == 0 else new", ("start = new.float() if old != 0 else new",)),
        ("start = torch.cat([old, new])", ("start = torch.cat([old, old])",)),
        ("start = [x for x in (old, new)]", ("start = [x for x in (old, old)]",)),
        ("start = start.float()", ("start = start",)),
    ],
)
def test_what_nobody_writes_is_not_proposed(text: str, never: tuple[str, ...]) -> None:
    whole = f"def f(old, new, decay, total, start):\n    {text}\n    return start, total\n"
    assert {p.after for p in proposals(whole)}.isdisjoint(never)


def test_two_mistakes_in_one_statement_change_no_literal() -> None:
    for name in PYTHON:
        for proposal in made(name):
            if len(proposal.operators) == 2:
                assert {"number_one_up", "number_one_down"}.isdisjoint(proposal.operators)


def test_a_mistake_leaves_no_variable_that_nothing_reads() -> None:
    text = "def f(x, n):\n    offset = n\n    return x + offset\n"
    assert "return x" not in {p.after for p in proposals(text)}


def test_nothing_is_compared_with_itself() -> None:
    text = "def f(key, value):\n    return key.shape[1] != value.shape[1]\n"
    assert all("key.shape[1] != key.shape[1]" not in p.after for p in proposals(text))


def test_a_source_knows_what_stands_where() -> None:
    source = SourceText(Path("reference/kv_attention.py").read_text("utf-8"))
    line = next(i for i, text in enumerate(source.text.splitlines(), 1) if "hidden = ~" in text)
    assert source.function_at(line) == "KVCachedMultiHeadAttention._apply_causal_mask"
    assert source.function_at(1) == ""
