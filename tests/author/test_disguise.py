"""A disguised file does the same and looks different, and its bugs are the same bugs."""

from __future__ import annotations

import ast

import pytest

from grader.author.generate.disguise import (
    disguise,
    disguised_challenge,
    fewer_comments,
    other_idioms,
    other_names,
    other_order,
)
from grader.author.kill_matrix import run_cases
from grader.content import Catalogue, ContentError, load_challenge
from grader.content.bug_detection import bug_status
from grader.content.planting import plant
from grader.judge import start_sandbox
from grader.judge.golden_check import usable_golden

PYTHON = [n for n in Catalogue().ids() if load_challenge(n).reference.suffix == ".py"]


def signatures(text: str) -> list[str]:
    """Every function by its class, with its parameters."""
    return sorted(
        f"{getattr(top, 'name', '')}.{node.name}({ast.unparse(node.args)})"
        for top in ast.parse(text).body
        for node in [top, *getattr(top, "body", [])]
        if isinstance(node, ast.FunctionDef)
    )


@pytest.mark.parametrize("name", PYTHON)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_disguise_keeps_every_signature_and_changes_many_lines(name: str, seed: int) -> None:
    text = load_challenge(name).reference_text
    made = disguise(text, seed)
    assert made == disguise(text, seed)
    assert signatures(made) == signatures(text)
    assert len(set(made.splitlines()) - set(text.splitlines())) >= 10
    assert max(map(len, made.splitlines())) <= max(100, *map(len, text.splitlines()))


def test_other_numbers_give_other_texts() -> None:
    text = load_challenge("multi_head_attention").reference_text
    assert len({disguise(text, seed) for seed in range(8)}) == 8


def test_a_disguised_reference_passes_every_case_and_its_bugs_do_not() -> None:
    challenge = load_challenge("multi_head_attention")
    golden = usable_golden(challenge, challenge.cases.values())
    cases = list(challenge.cases.values())
    made = disguised_challenge(challenge, 5)
    with start_sandbox(challenge) as box:
        box.ready()
        right = run_cases(box, challenge, golden, made.reference_text.encode(), cases)
        assert {item.result.status for item in right.values()} == {"passed"}
        for name in ("seed-scale-missing-sqrt", "seed-causal-offset-plus1"):
            wrong = run_cases(box, challenge, golden, plant(made, [name]).encode(), cases)
            failed = [case for case, item in wrong.items() if item.result.status == "failed"]
            assert failed == list(challenge.bugs[name].witnesses)


@pytest.mark.parametrize("name", ["multi_head_attention", "static_cache"])
def test_disguised_bugs_are_recognised(name: str) -> None:
    made = disguised_challenge(load_challenge(name), 7)
    for bug in [bug for bug in made.bugs.values() if bug.kind == "bug"][:8]:
        states = bug_status(made, plant(made, [bug.id]))
        assert [other for other, state in states.items() if state != "fixed"] == [bug.id]


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    scores = x\n    return lambda: scores\n",
        'def f(x):\n    scores = x\n    return f"{scores}"\n',
        "def f(scores):\n    scores = scores + 1\n    return scores\n",
        "def f(x):\n    global scores\n    scores = x\n",
        "def f(x):\n    scores = x\n    return locals()\n",
        "def f(x):\n    import scores\n    scores = scores.of(x)\n    return scores\n",
        "def f():\n    try:\n        g()\n    except OSError as scores:\n        return scores\n",
    ],
)
def test_a_name_that_others_may_see_is_kept(text: str) -> None:
    assert {other_names(text, seed) for seed in range(20)} == {text}


def test_no_two_variables_get_one_name() -> None:
    text = (
        "def f(x):\n    out = x\n    output = out + 1\n    mixed = out - output\n    return mixed\n"
    )
    for seed in range(60):
        names = {
            n.id for n in ast.walk(ast.parse(other_names(text, seed))) if isinstance(n, ast.Name)
        }
        assert len(names) == 4  # with x


def test_a_comment_for_a_tool_is_kept() -> None:
    text = "x = 1  # noqa: E501\ny = 2  # fmt: skip\n"
    assert {fewer_comments(text, seed) for seed in range(20)} == {text}


def test_a_hash_in_a_text_is_no_comment() -> None:
    text = "x = '# not one'\n"
    assert {fewer_comments(text, seed) for seed in range(20)} == {text}


@pytest.mark.parametrize(
    "text",
    ["a < b < c\n", "x = y if z else w\n", "torch.softmax(x + 1, dim=-1)\n", "a + 1 < b * 2\n", "a in b\n"],
)  # fmt: skip
def test_what_may_not_mean_the_same_stays(text: str) -> None:
    assert {other_idioms(text, seed) for seed in range(20)} == {text}


def test_what_is_decorated_keeps_its_place() -> None:
    text = (
        "class A:\n    @property\n    def f(self):\n        return 1\n\n"
        "    @f.setter\n    def f(self, x):\n        pass\n"
    )
    assert {other_order(text, seed) for seed in range(20)} == {text}


def test_a_document_has_no_disguise() -> None:
    with pytest.raises(ContentError, match="only a reference in Python can"):
        disguised_challenge(load_challenge("broken_test"), 1)
