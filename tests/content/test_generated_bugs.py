"""Generated bugs are drawn by a number: the same number gives the same bytes, and what is drawn goes together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grader.content import Catalogue, Challenge, ContentError, load_challenge
from grader.content.bug_detection import bug_status
from grader.content.generated_bugs import (
    GeneratedBugs,
    draw_generated,
    read_generated,
    with_generated,
)
from grader.content.planting import PlantError, plant
from grader.content.statements import statements
from grader.ground.paths import ROOT

WITH_BUGS = [name for name in Catalogue().ids() if load_challenge(name).generated.exists()]


def known(name: str) -> tuple[Challenge, GeneratedBugs]:
    challenge = load_challenge(name)
    return challenge, read_generated(challenge)


def begun(challenge: Challenge, generated: GeneratedBugs, names: list[str]) -> Challenge:
    return with_generated(challenge, [generated.bugs[name].bug for name in names])


def test_some_challenges_have_generated_bugs() -> None:
    assert "multi_head_attention" in WITH_BUGS


@pytest.mark.parametrize("name", WITH_BUGS)
def test_each_is_found_in_the_text_that_it_is_planted_in(name: str) -> None:
    challenge, generated = known(name)
    assert len(generated.bugs) >= 15
    for bug in generated.bugs:
        whole = begun(challenge, generated, [bug])
        assert bug_status(whole, plant(whole, [bug]))[bug] == "present"
        assert bug_status(whole, challenge.reference_text)[bug] == "fixed"


def test_two_that_read_alike_are_not_drawn_together() -> None:
    """Both loops of the kernel fold their scores in with the same statement: one mistake in it reads like the other."""
    challenge, generated = known("triton_prefill")
    by_difference: dict[object, set[str]] = {}
    for name in generated.bugs:
        planted = statements(plant(begun(challenge, generated, [name]), [name]))
        assert planted is not None
        changed = {scope: tuple(sorted(lines)) for scope, lines in planted.items()}
        by_difference.setdefault(repr(sorted(changed.items())), set()).add(name)
    alike = [names for names in by_difference.values() if len(names) > 1]
    assert alike
    for names in alike:
        for name in names:
            assert names - {name} <= generated.bugs[name].bug.excludes.keys()
            assert all(
                not names <= set(draw_generated(challenge, generated, seed, 3)[0])
                for seed in range(40)
            )


@pytest.mark.parametrize("name", WITH_BUGS)
@pytest.mark.parametrize("seed", range(12))
def test_what_is_drawn_goes_together_and_is_recognised(name: str, seed: int) -> None:
    challenge, generated = known(name)
    bugs, decoys = draw_generated(challenge, generated, seed, 3)
    assert (bugs, decoys) == draw_generated(challenge, generated, seed, 3)
    whole = begun(challenge, generated, bugs)
    text = plant(whole, [*bugs, *decoys])
    found = bug_status(whole, text)
    assert {bug for bug, state in found.items() if state != "fixed"} == set(bugs)
    for mended in bugs:
        left = [bug for bug in bugs if bug != mended]
        states = bug_status(whole, plant(whole, [*left, *decoys]))
        assert {bug for bug, state in states.items() if state != "fixed"} == set(left)
    witnesses = [generated.bugs[bug].bug.witnesses for bug in bugs]
    assert len(set(witnesses)) == len(witnesses)
    assert len(decoys) <= 2


def test_another_number_draws_others() -> None:
    challenge, generated = known("multi_head_attention")
    drawn = {tuple(draw_generated(challenge, generated, seed, 3)[0]) for seed in range(30)}
    assert len(drawn) > 20


def test_a_level_is_kept_to() -> None:
    challenge, generated = known("multi_head_attention")
    bugs, _ = draw_generated(challenge, generated, 5, 2, "easy")
    assert {generated.bugs[bug].level for bug in bugs} == {"easy"}


@pytest.mark.parametrize(("count", "level"), [(1000, None), (500, "hard")])
def test_more_than_there_are_is_refused_in_one_line(count: int, level: str | None) -> None:
    challenge, generated = known("multi_head_attention")
    with pytest.raises(PlantError, match=r"^only \d+ .*go together here, not \d+$"):
        draw_generated(challenge, generated, 1, count, level)


def test_what_edits_one_line_is_never_planted_together() -> None:
    challenge, generated = known("multi_head_attention")
    whole = begun(challenge, generated, list(generated.bugs))
    overlapping = [
        (name, other)
        for name in generated.bugs
        for other in whole.bugs[name].excludes
        if other in challenge.bugs
    ]
    assert overlapping
    with pytest.raises(PlantError, match="cannot be planted together"):
        plant(whole, overlapping[0])


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[[Any], Challenge]:
    """A checkout with one challenge, whose generated bugs are what is given."""
    source = ROOT / "challenges" / "multi_head_attention"
    shutil.copytree(source, tmp_path / "challenges" / source.name)
    shutil.copytree(ROOT / "reference", tmp_path / "reference")

    def write(content: Any) -> Challenge:
        challenge = Catalogue(tmp_path).load(source.name)
        text = content if isinstance(content, str) else json.dumps(content)
        challenge.generated.write_text(text)
        return challenge

    return write


GOOD = (
    json.loads((ROOT / "challenges/multi_head_attention/recorded/generated.json").read_text())
    if WITH_BUGS
    else {}
)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        '{"schema": 1}',
        {**GOOD, "schema": "kvdojo/generated/v9"},
        {**GOOD, "reference": "of another file"},
        {**GOOD, "bugs": [{"id": "g-1"}]},
        {**GOOD, "bugs": 7},
        {**GOOD, "bugs": [None]},
        {**GOOD, "apart": [["g-1"]]},
        {**GOOD, "dropped": 3},
        {**GOOD, "bugs": [{**entry, "id": "seed-scale-missing-sqrt"} for entry in GOOD.get("bugs", [])[:1]]},
        {**GOOD, "bugs": [{**entry, "level": "impossible"} for entry in GOOD.get("bugs", [])[:1]]},
        {**GOOD, "bugs": [{**entry, "edits": []} for entry in GOOD.get("bugs", [])[:1]]},
        {**GOOD, "bugs": [{**entry, "edits": [{"find": "", "replace": "x"}]} for entry in GOOD.get("bugs", [])[:1]]},
        {**GOOD, "bugs": [{**entry, "hints": 3} for entry in GOOD.get("bugs", [])[:1]]},
    ],
)  # fmt: skip
def test_a_damaged_file_is_an_error_of_the_content(
    checkout: Callable[[Any], Challenge], content: Any
) -> None:
    challenge = checkout(content)
    with pytest.raises(ContentError, match=r"generated\.json"):
        read_generated(challenge)


def test_without_a_survey_there_are_none(checkout: Callable[[Any], Challenge]) -> None:
    challenge = checkout(GOOD)
    challenge.generated.unlink()
    with pytest.raises(ContentError, match="has no generated bugs"):
        read_generated(challenge)
