"""Planting: exact edits, disjointness, seeds."""

from __future__ import annotations

import ast
import json
import random
import shutil

import pytest

from grader.content import Catalogue, UnknownName, load_challenge
from grader.content.entries import Edit
from grader.content.planting import PlantError, apply_edits, choose, plant
from grader.ground.paths import ROOT


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


def test_no_decoy_is_drawn_beside_what_it_excludes(challenge, tmp_path) -> None:
    root = tmp_path / "checkout"
    for name in ("challenges/multi_head_attention", "reference"):
        shutil.copytree(ROOT / name, root / name)
    path = root / "challenges" / "multi_head_attention" / "bugs.json"
    document = json.loads(path.read_text())
    bugs = [entry["id"] for entry in document["bugs"] if entry["kind"] == "bug"]
    decoys = [entry for entry in document["bugs"] if entry["kind"] == "decoy"]
    decoys[0]["excludes"] = [{"id": name, "because": "a test"} for name in bugs[:16]]
    decoys[1]["excludes"] = [{"id": decoys[2]["id"], "because": "a test"}]
    path.write_text(json.dumps(document))
    own = Catalogue(root).load("multi_head_attention")
    drawn = [choose(own, seed, 4) for seed in range(60)]
    for some_bugs, some_decoys in drawn:
        plant(own, [*some_bugs, *some_decoys])
    assert any(decoys[0]["id"] in found for _, found in drawn)
