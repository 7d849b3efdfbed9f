"""What a file itself says of the planted bugs."""

from __future__ import annotations

import ast
import random

import pytest

from grader.content import load_challenge
from grader.content.fragments import status
from grader.content.plant import plant


@pytest.fixture(scope="module")
def challenge():
    return load_challenge("multi_head_attention")


def present(challenge, text: str) -> set[str]:
    return {name for name, state in status(challenge, text).items() if state == "present"}


def test_the_reference_has_every_bug_fixed(challenge) -> None:
    assert set(status(challenge, challenge.reference_text).values()) == {"fixed"}


def test_random_subsets_are_read_off_exactly(challenge) -> None:
    bugs = [bug.id for bug in challenge.bugs.values() if bug.kind == "bug"]
    decoys = [bug.id for bug in challenge.bugs.values() if bug.kind == "decoy"]
    draw = random.Random(5)
    for _ in range(40):
        chosen = draw.sample(bugs, draw.randint(1, len(bugs)))
        extra = draw.sample(decoys, draw.randint(0, len(decoys)))
        assert present(challenge, plant(challenge, [*chosen, *extra])) == set(chosen)


def test_layout_and_comments_do_not_matter(challenge) -> None:
    bugs = challenge.presets["contest"].bugs
    text = ast.unparse(ast.parse(plant(challenge, bugs)))
    assert present(challenge, "# mine\n" + text) == set(bugs)


@pytest.mark.parametrize("text", ["", "x = (", "\0", "class A: pass", "(" * 5000, "- " * 90_000])
def test_text_that_is_not_ours_has_nothing_present(challenge, text: str) -> None:
    assert set(status(challenge, text).values()) == {"unknown"}


def test_a_rewritten_function_holds_no_bug_that_only_takes_a_line_away(challenge) -> None:
    lines = challenge.bugs["merge-heads-without-permute"].edits[0].find
    text = challenge.reference_text.replace(lines, "        x = torch.swapaxes(x, 1, 2)\n")
    assert text != challenge.reference_text
    assert status(challenge, text)["merge-heads-without-permute"] == "changed"
