"""Planting: exact edits, disjointness, seeds."""

from __future__ import annotations

import ast
import random

import pytest

from grader.content import UnknownName, load_challenge
from grader.content.entries import Edit
from grader.content.planting import PlantError, apply_edits, choose, plant


@pytest.fixture(scope="module")
def challenge():
    return load_challenge("multi_head_attention")


def test_nothing_planted_is_the_reference(challenge) -> None:
    assert plant(challenge, []) == challenge.reference_text


def test_order_and_repetition_of_ids_do_not_matter(challenge) -> None:
    ids = list(challenge.presets["contest"].bugs)
    text = plant(challenge, ids)
    random.Random(3).shuffle(ids)
    assert plant(challenge, [*ids, ids[0]]) == text
    assert text != challenge.reference_text


def test_unknown_id_suggests_the_closest(challenge) -> None:
    with pytest.raises(UnknownName, match="seed-scale-missing-sqrt"):
        plant(challenge, ["seed-scale-missing-sqr"])


@pytest.mark.parametrize("find", ["absent", "", "x"])
def test_a_find_must_occur_once(find: str) -> None:
    with pytest.raises(PlantError, match="not once"):
        apply_edits("x\nx\n", [("bug", Edit(find, "y"))])


def test_overlapping_edits_are_refused() -> None:
    edits = [("one", Edit("a = 1\nb", "c")), ("two", Edit("b = 2", "d"))]
    with pytest.raises(PlantError, match="'one' and 'two'"):
        apply_edits("a = 1\nb = 2\n", edits)


def test_same_seed_same_choice_and_at_most_one_crasher(challenge) -> None:
    for seed in range(40):
        bugs, decoys = choose(challenge, seed, 5)
        assert (bugs, decoys) == choose(challenge, seed, 5)
        assert len(bugs) == 5
        assert sum(challenge.bugs[name].raises for name in bugs) <= 1
        ast.parse(plant(challenge, [*bugs, *decoys]))
    assert choose(challenge, 1, 5) != choose(challenge, 2, 5)


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_a_count_out_of_range_is_refused(challenge, count: int) -> None:
    with pytest.raises(PlantError, match="--bugs takes a number"):
        choose(challenge, 1, count)
