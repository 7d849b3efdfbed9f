"""Renamed parameters and local variables are given our names again, and nothing else is."""

from __future__ import annotations

import ast
import random

import pytest

from grader.content import challenge_ids, load_challenge
from grader.content.alpha_rename import (
    MOST_STATEMENTS,
    PATIENCE,
    _Search,
    alpha_rename,
    vocabulary_of,
)
from grader.content.statements import statements

SOURCE = """
def attend(query, key, value, scale):
    scores = query @ key
    scaled = scores * scale
    weights = softmax(scaled)
    for row in weights:
        total = row + scale
    output = weights @ value
    return output, total
"""


def of(source: str) -> list[str]:
    found = statements(source)
    assert found is not None
    return found["attend",]


OURS = of(SOURCE)
VOCABULARY = vocabulary_of([OURS])


def renamed(source: str, names: dict[str, str]) -> str:
    """Rename variables and parameters everywhere in a source."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = names.get(node.arg, node.arg)
    return ast.unparse(tree)


LOCAL = ["query", "key", "value", "scale", "scores", "scaled", "weights", "row", "total", "output"]


@pytest.mark.parametrize("seed", range(20))
def test_any_renaming_is_undone(seed: int) -> None:
    draw = random.Random(seed)
    others = draw.sample(["a", "b", "q", "k", "v", *LOCAL], len(LOCAL))
    mine = of(renamed(SOURCE, dict(zip(LOCAL, others, strict=True))))
    assert alpha_rename(mine, VOCABULARY) == OURS


def test_the_example_of_the_module_is_true() -> None:
    ours = of("def attend(q, k, v):\n    s = q @ k\n    w = softmax(s)\n    return w @ v\n")
    mine = of(
        "def attend(query, key, v):\n    scores = query @ key\n    p = softmax(scores)\n    return p @ query\n"
    )
    found = alpha_rename(mine, vocabulary_of([ours]))
    assert found == of(
        "def attend(q, k, v):\n    s = q @ k\n    w = softmax(s)\n    return w @ q\n"
    )


def test_our_own_statements_are_returned_as_they_are() -> None:
    assert alpha_rename(OURS, VOCABULARY) is OURS


def test_two_names_made_one_are_not_taken_apart() -> None:
    mine = of(SOURCE.replace("scaled", "scores"))
    assert alpha_rename(mine, VOCABULARY) != OURS


def test_a_value_put_in_another_s_place_is_no_renaming() -> None:
    mine = of(renamed(SOURCE, {"query": "q", "value": "v"}).replace("weights @ v", "weights @ q"))
    found = alpha_rename(mine, VOCABULARY)
    assert found[:4] == OURS[:4]
    assert found != OURS
    assert of(SOURCE.replace("weights @ value", "weights @ query")) == [
        statement.replace("'v'", "'value'") for statement in found
    ]


def test_a_name_of_the_file_s_own_is_not_mistaken_for_ours() -> None:
    # `scaled` is theirs for something new, and our `scaled` is called `weighted` by them
    mine = of(
        SOURCE.replace("scaled", "weighted").replace("    return", "    scaled = 1\n    return")
    )
    found = alpha_rename(mine, VOCABULARY)
    assert set(OURS) <= set(found)
    (extra,) = set(found) - set(OURS)
    assert "'scaled_'" in extra


def test_global_names_and_attributes_stay() -> None:
    mine = of(renamed(SOURCE, {"weights": "w"}).replace("softmax", "soft"))
    found = alpha_rename(mine, VOCABULARY)
    assert "Name(id='soft', ctx=Load())" in "".join(found)
    assert [a == b for a, b in zip(found, OURS, strict=True)].count(False) == 1


def test_a_bug_s_own_statements_belong_to_the_vocabulary() -> None:
    planted = SOURCE.replace("scores * scale", "scores / scale")
    both = vocabulary_of([OURS, of(planted)])
    mine = of(renamed(planted, {"scores": "s", "scaled": "t"}))
    assert alpha_rename(mine, both) == of(planted)


def test_a_longer_function_than_any_of_ours_is_left_alone() -> None:
    many = [f"Assign({n})" for n in range(MOST_STATEMENTS + 1)]
    assert alpha_rename(many, VOCABULARY) is many


def test_the_search_gives_up_after_a_bounded_number_of_tries() -> None:
    names = [(f"a{n}", f"b{n}") for n in range(60)]
    search = _Search([(pair, [(f"x{m}", f"y{m}") for m in range(60)]) for pair in names])
    search.best()
    assert search.tried <= PATIENCE + len(names)


PYTHON = [name for name in challenge_ids() if load_challenge(name).file.endswith(".py")]


@pytest.mark.parametrize("name", PYTHON)
def test_every_function_of_a_reference_is_found_under_other_names(name: str) -> None:
    challenge = load_challenge(name)
    ours = statements(challenge.reference_text)
    assert ours
    tree, draw = ast.parse(challenge.reference_text), random.Random(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not _nested(node):
            _rename_locals(node, draw)
    mine = statements(ast.unparse(tree))
    assert mine
    assert mine.keys() == ours.keys()
    changed = 0
    for scope, own in ours.items():
        if not own[0].startswith("FunctionDef("):
            continue
        changed += mine[scope] != own
        assert alpha_rename(mine[scope], vocabulary_of([own])) == own, scope
    assert changed > 5


def _nested(function: ast.FunctionDef) -> bool:
    """Whether a function holds or shares names with another one, where one name means two things."""
    inner = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp)
    return any(isinstance(node, inner) for node in ast.walk(function) if node is not function)


def _rename_locals(function: ast.FunctionDef, draw: random.Random) -> None:
    args = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    bound = {item.arg for item in args if item.arg not in ("self", "cls")}
    bound |= {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    fresh = [f"n{index}" for index in range(len(bound))]
    draw.shuffle(fresh)
    names = dict(zip(sorted(bound), fresh, strict=True))
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = names.get(node.arg, node.arg)
