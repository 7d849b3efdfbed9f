"""Mutants of a reference, the list of equivalent ones, and the score of the cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from copy import copy
from pathlib import Path
from textwrap import dedent

import pytest

from grader.author.equivalent_mutants import load_reviewed, same_by_rule
from grader.author.mutants import Mutant, function_at, mutants
from grader.author.mutation import score
from grader.author.wrong_variants import planted
from grader.content import Challenge, ContentError, load_challenge
from grader.judge.golden_check import usable_golden
from grader.judge.random_scenarios import NAME, RandomScenarios
from grader.sandbox import Sandbox

SOURCE = dedent('''
    """Counts."""

    class Counter:
        """Counts up."""

        def up(self, by: int) -> int:
            """Add `by`."""
            if by < 0:
                raise ValueError(f"{by} is less than 0")
            return self.count + by
''')


def by_line(source: str, line: str) -> list[Mutant]:
    return [mutant for mutant in mutants(source) if mutant.removed == line]


def test_mutants_differ_in_one_place_and_say_where() -> None:
    found = by_line(SOURCE, "return self.count + by")

    assert [mutant.added for mutant in found] == ["return self.count - by"]
    assert found[0].function == "Counter.up"
    assert "+        return self.count - by" in found[0].diff("counter.py").splitlines()


def test_no_mutant_comes_twice_and_none_is_the_source() -> None:
    texts = [mutant.text for mutant in mutants(SOURCE)]

    assert len(texts) == len(set(texts)) > 3
    assert SOURCE not in texts


def test_decorated_functions_are_mutated_and_their_decorators_are_not() -> None:
    source = "class A:\n    @keep(1)\n    def size(self):\n        return 2\n"

    found = [mutant.text for mutant in mutants(source)]

    assert found == [source.replace("2", "3")]


def test_a_deleted_line_is_told() -> None:
    mutant = Mutant("f(\n    a,\n    b,\n)\n", "f(\n    a,\n)\n")

    assert (mutant.line, mutant.removed, mutant.added) == (3, "b,", "")


@pytest.mark.parametrize(("line", "name"), [(1, ""), (4, "Counter"), (9, "Counter.up")])
def test_the_function_of_a_line(line: int, name: str) -> None:
    assert function_at(SOURCE, line) == name


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('raise ValueError(f"{by} is less than 0")', "raise ValueError(None)", True),
        ('raise ValueError(f"{by} is less than 0")', 'raise TypeError("no")', False),
        ('"""Add `by`."""', '"""Take `by`."""', True),
        ("by: int) -> int", "by: float) -> None", True),
        ("by < 0", "by <= 0", False),
    ],
)
def test_rules_cover_what_is_said_and_not_what_is_done(before: str, after: str, same: bool) -> None:
    assert same_by_rule(Mutant(SOURCE, SOURCE.replace(before, after))) is same


def entry(line: str, becomes: list[str], where: str = "scale") -> dict[str, object]:
    reason = "It makes no difference whatever is asked."
    return {"in": where, "line": line, "becomes": becomes, "because": reason}


def write(folder: Path, *entries: dict[str, object]) -> None:
    (folder / "equivalent.json").write_text(json.dumps({"equivalent": list(entries)}))


def test_score_tells_killed_equivalent_survived_and_stale(
    make: Callable[..., Challenge], tiny_sandbox: Sandbox
) -> None:
    challenge = make()
    text = challenge.reference_text
    variants = {
        "killed": text.replace("2 * x", "2 / x"),
        "endless": text.replace("return 2 * x", "while True: pass"),
        "said": text.replace("Return twice", "Return thrice"),
        "equivalent": text.replace("2 * x", "x * 2"),
        "survivor": text.replace("2 * x", "x + x"),
    }
    write(
        challenge.folder,
        entry("return 2 * x", ["return x * 2"]),
        entry("return 2 * x", ["return 2 / x"], "elsewhere"),
    )

    found = score(
        tiny_sandbox,
        challenge,
        usable_golden(challenge, challenge.cases.values()),
        [Mutant(text, variant) for variant in variants.values()],
        load_reviewed(challenge.folder),
    )

    assert found.killed.total() == 2
    assert found.by_rule == 1
    assert [mutant.text for mutant in found.equivalent] == [variants["equivalent"]]
    assert [mutant.text for mutant in found.survived] == [variants["survivor"]]
    assert found.stale == ["elsewhere: return 2 / x"]
    assert (found.total, found.judged) == (5, 3)
    assert found.share == pytest.approx(2 / 3)


def test_what_no_case_refuses_a_random_scenario_may(
    sandbox_for: Callable[[str], Sandbox],
) -> None:
    whole = load_challenge("multi_head_attention")
    box, name = sandbox_for(whole.id), "no-cache"
    bug = next(bug for bug in whole.bugs.values() if name not in bug.witnesses)
    challenge = copy(whole)
    challenge.__dict__["cases"] = {name: whole.cases[name]}
    golden = usable_golden(challenge, challenge.cases.values())
    mutant = Mutant(whole.reference_text, planted(whole, bug.id).decode())
    reviewed = load_reviewed(whole.folder)

    with closing(RandomScenarios(box, whole, seed=5)) as scenarios:
        with_them = score(box, challenge, golden, [mutant], reviewed, scenarios=scenarios)
        same = Mutant(whole.reference_text, whole.reference_text + "\nUNUSED = 1\n")
        right = score(box, challenge, golden, [same], reviewed, scenarios=scenarios)
    without = score(box, challenge, golden, [mutant], reviewed)

    assert (dict(with_them.killed), with_them.share) == ({NAME: 1}, 1.0)
    assert right.survived == [same]
    assert without.survived == [mutant]


def test_every_mutant_of_the_operators_can_be_judged(
    make: Callable[..., Challenge], tiny_sandbox: Sandbox
) -> None:
    challenge = make()
    golden = usable_golden(challenge, challenge.cases.values())
    made = list(mutants(challenge.reference_text))

    found = score(tiny_sandbox, challenge, golden, made, load_reviewed(challenge.folder))

    assert len(made) > 5
    assert found.killed.total() == len(made)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("a", ["b"]), entry("a", ["b"])], "'b' is listed twice"),
        ([{"in": "f", "line": "a", "becomes": ["b"]}], "'because' is a required property"),
        ([entry("a", [])], "becomes"),
    ],
)
def test_a_faulty_list_is_refused(
    tmp_path: Path, entries: list[dict[str, object]], said: str
) -> None:
    write(tmp_path, *entries)

    with pytest.raises(ContentError, match=said):
        load_reviewed(tmp_path)
