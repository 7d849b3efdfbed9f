"""What a file itself says of the planted bugs."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path

import pytest

from benchmarks.progress import draw_subset
from benchmarks.refactor import refactored
from grader.content import Catalogue, load_challenge
from grader.content.bug_detection import bug_status
from grader.content.catalogue import challenge_ids
from grader.content.planting import plant


@pytest.fixture(scope="module")
def challenge():
    return load_challenge("multi_head_attention")


def present(challenge, text: str) -> set[str]:
    return {name for name, state in bug_status(challenge, text).items() if state == "present"}


def test_the_reference_has_every_bug_fixed(challenge) -> None:
    assert set(bug_status(challenge, challenge.reference_text).values()) == {"fixed"}


@pytest.mark.parametrize("name", challenge_ids())
def test_every_bug_alone_is_the_only_one_present(name: str) -> None:
    challenge = load_challenge(name)
    bugs = [bug.id for bug in challenge.bugs.values() if bug.kind == "bug"]
    for bug in bugs:  # also where another one does the same to a function that both change
        found = bug_status(challenge, plant(challenge, [bug]))
        assert found == {other: "present" if other == bug else "fixed" for other in bugs}


def test_random_subsets_are_read_off_exactly(challenge) -> None:
    bugs = [bug.id for bug in challenge.bugs.values() if bug.kind == "bug"]
    decoys = [bug.id for bug in challenge.bugs.values() if bug.kind == "decoy"]
    draw = random.Random(5)
    for _ in range(40):
        chosen = []
        for name in draw.sample(bugs, draw.randint(1, len(bugs))):
            apart = challenge.bugs[name].excludes
            if not any(o in apart or name in challenge.bugs[o].excludes for o in chosen):
                chosen.append(name)
        extra = draw.sample(decoys, draw.randint(0, len(decoys)))
        assert present(challenge, plant(challenge, [*chosen, *extra])) == set(chosen)


def test_layout_and_comments_do_not_matter(challenge) -> None:
    bugs = challenge.presets["contest"].bugs
    text = ast.unparse(ast.parse(plant(challenge, bugs)))
    assert present(challenge, "# mine\n" + text) == set(bugs)


@pytest.mark.parametrize("text", ["", "x = (", "\0", "class A: pass", "(" * 5000, "- " * 90_000])
def test_text_that_is_not_ours_has_nothing_present(challenge, text: str) -> None:
    assert set(bug_status(challenge, text).values()) == {"unknown"}


def test_a_rewritten_function_holds_no_bug_that_only_takes_a_line_away(challenge) -> None:
    lines = challenge.bugs["merge-heads-without-permute"].edits[0].find
    text = challenge.reference_text.replace(lines, "        x = torch.swapaxes(x, 1, 2)\n")
    assert text != challenge.reference_text
    assert bug_status(challenge, text)["merge-heads-without-permute"] == "changed"


@pytest.mark.parametrize("name", challenge_ids())
def test_an_automatic_refactor_hides_no_bug_and_shows_none(name: str) -> None:
    challenge, draw = load_challenge(name), random.Random(11)
    for _ in range(4):
        bugs, decoys = draw_subset(challenge, draw)
        text = refactored(plant(challenge, [*sorted(bugs), *decoys]), draw)
        assert present(challenge, text) == bugs


def test_prints_and_assertions_do_not_hide_a_line_that_is_gone(challenge) -> None:
    text = plant(challenge, ["merge-heads-without-permute"])
    seam = "        return x.reshape(B, S, self.d_model)"
    assert text.count(seam) == 1
    noisy = text.replace(seam, f"        print(x.shape)\n        assert S\n{seam}")
    assert present(challenge, noisy) == {"merge-heads-without-permute"}


def test_exchanged_names_are_a_rename_and_exchanged_values_are_a_bug(challenge) -> None:
    old = "        pieces = [past, new]\n        return torch.cat(pieces, dim=1)"
    assert old in challenge.reference_text
    renamed = challenge.reference_text.replace(old, old.replace("pieces", "whole"))
    assert present(challenge, renamed) == set()
    turned = renamed.replace("[past, new]", "[new, past]")
    assert present(challenge, turned) == {"append-order-new-before-old"}


def test_a_function_of_many_alike_statements_is_read_in_bounded_time(challenge) -> None:
    body = "".join(f"        a{i} = b{i} + c{i}\n" for i in range(20_000))
    head = "    def _split_heads(self, x):\n"
    text = f"class KVCachedMultiHeadAttention:\n{head}{body[:200_000]}"
    assert set(bug_status(challenge, text.rsplit("\n", 1)[0] + "\n").values()) == {"unknown"}


EXAMPLE = """def f(x):
    x = x + 1
    y = g(x)
    x = x + 1
    return x, y
"""
TABLE = {
    # statements in the place of the first and of the second `x = x + 1`
    ("x = x + 1", "x = x + 1"): ("fixed", "fixed"),
    ("x = x", "x = x + 1"): ("present", "fixed"),
    ("x = x + 1", "x = x + 2"): ("fixed", "present"),
    ("x = x", "x = x + 2"): ("present", "present"),
    ("x = x + 3", "x = x + 1"): ("changed", "changed"),
}


@pytest.mark.parametrize("lines", TABLE)
def test_the_table_of_the_module_is_true(lines: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "challenges" / "example"
    folder.mkdir(parents=True)
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "example.py").write_text(EXAMPLE)
    words = {"kind": "bug", "family": "f", "difficulty": 1, "title": "t", "symptom": "s"}
    words |= {"explanation": "e", "hints": ["1", "2", "3"], "sources": [{"title": "t"}]}
    edits = {
        "first": ("x = x + 1\n    y", "x = x\n    y"),
        "second": ("x = x + 1\n    return", "x = x + 2\n    return"),
    }
    bugs = [
        {**words, "id": name, "edits": [{"find": find, "replace": replace}]}
        for name, (find, replace) in edits.items()
    ]
    (folder / "bugs.json").write_text(json.dumps({"bugs": bugs}))
    document = {
        "id": "example",
        "title": "t",
        "summary": "s",
        "difficulty": 1,
        "file": "example.py",
    }
    document |= {"reference": "reference/example.py", "provides": ["f"], "presets": {}}
    (folder / "challenge.json").write_text(json.dumps(document))
    first, second = lines
    text = EXAMPLE.replace("x = x + 1", first, 1)
    text = text[: text.index("y = g")] + text[text.index("y = g") :].replace("x = x + 1", second)

    found = bug_status(Catalogue(tmp_path).load("example"), text)

    assert (found["first"], found["second"]) == TABLE[lines]
