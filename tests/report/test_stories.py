"""The stories of mended bugs, the learner's lines beside the reference's, and what to try next."""

from __future__ import annotations

import pytest
from rich.console import Console

from grader.content import Catalogue
from grader.content.planting import plant
from grader.ground.symbols import UNICODE
from grader.judge.result import BugStatus, CaseResult, Result
from grader.report.stories import (
    Comparison,
    Source,
    Success,
    comparisons,
    stories,
    what_next,
)
from grader.report.success_lines import in_short, story_lines
from grader.report.terminal_report import About, render

IDS = Catalogue().ids()
MHA = "multi_head_attention"


def test_each_bug_is_the_reference_where_it_was_mended_and_is_not_where_it_stands() -> None:
    seen = 0
    for name in IDS:
        challenge = Catalogue().load(name)
        reference = challenge.reference_text
        for bug in (bug for bug in challenge.bugs.values() if bug.kind == "bug"):
            mended = list(comparisons(reference, bug, reference))
            assert mended, bug.id
            assert all(found.is_same for found in mended), bug.id
            assert not all(
                found.is_same for found in comparisons(reference, bug, plant(challenge, [bug.id]))
            ), bug.id
            seen += len(mended)
    assert seen > 200


def compared(find: str, replace: str) -> Comparison:
    challenge = Catalogue().load(MHA)
    text = challenge.reference_text
    assert text.count(find) == 1
    bug = challenge.bugs["seed-causal-offset-plus1"]
    (found,) = comparisons(text, bug, text.replace(find, replace))
    return found


def test_a_fix_in_other_words_stands_beside_the_reference() -> None:
    found = compared(
        "        offset = cache_len\n", "        offset = 0\n        offset += cache_len\n"
    )
    assert found.mine == ("offset = 0", "offset += cache_len")
    assert found.reference == ("offset = cache_len",)
    assert not found.is_same
    assert in_short(found).startswith(f"line {found.first}: offset = 0 ...")
    rows = Catalogue().load(MHA).reference_text.splitlines()
    assert rows[found.first - 1].strip() == "offset = cache_len"


def test_what_was_taken_away_and_what_is_far_too_long() -> None:
    found = compared("        offset = cache_len\n", "")
    assert found.mine == ()
    assert in_short(found) == "reference: offset = cache_len"
    found = compared("        offset = cache_len\n", "        x = '\x1b[2J'\n" * 300)
    assert len(found.mine) == 9
    assert found.mine[-1] == "... 292 more lines"
    assert "\x1b" not in in_short(found)


@pytest.mark.parametrize("text", ["", "\n\n", "\0", "x", "def f(:\n" * 9, "é\r\n\u2028x"])
def test_any_text_can_be_compared(text: str) -> None:
    challenge = Catalogue().load(MHA)
    for bug in challenge.bugs.values():
        for found in comparisons(challenge.reference_text, bug, text):
            assert found.first >= 1


def test_only_planted_bugs_that_are_fixed_have_stories() -> None:
    challenge = Catalogue().load(MHA)
    planted = challenge.presets["default"].bugs
    told = stories(
        challenge,
        planted,
        [*planted[1:3], "mask-left-out", "no such"],
        challenge.reference_text,
        rungs={planted[1]: 2},
    )
    assert [(story.number, story.bug, story.rungs) for story in told] == [
        (2, planted[1], 2),
        (3, planted[2], 0),
    ]


@pytest.mark.parametrize(
    ("url", "short"),
    [
        ("https://github.com/pytorch/executorch/pull/2010", "pytorch/executorch#2010"),
        ("https://github.com/a/b/issues/12#issuecomment-3", "a/b#12"),
        ("https://github.com/a/b", "github.com/a/b"),
        ("https://www.example.org/x/", "example.org/x"),
        (None, "A book"),
    ],
)
def test_sources_have_a_short_name(url, short) -> None:
    assert Source("A book", url).short == short


def test_what_is_next() -> None:
    known = Catalogue()
    challenges = [known.load(name) for name in IDS]
    first = known.load(MHA)
    words = [found.words for found in what_next(first, "default", challenges, {}, {})]
    assert words[0] == ("start", MHA, "--preset", "contest")
    assert words[1][0] == "start"
    assert words[2] == ("start", MHA, "--fresh", "1")
    folders = ["default", "contest", "fresh-4", "fresh-x"]
    attempts = {MHA: {name: f"work/{name}" for name in folders}, words[1][1]: {"default": "w"}}
    begun = what_next(first, "default", challenges, attempts, {})
    assert begun[0].words == ("use", MHA, "work/contest")
    passed = {MHA: ["contest"]}
    again = [found.words for found in what_next(first, "default", challenges, attempts, passed)]
    assert again == [("grade", words[1][1]), ("start", MHA, "--fresh", "5")]
    everything = {name: ["default"] for name in IDS}
    begun_all = {name: {"default": "w"} for name in IDS}
    hardest = max(challenges, key=lambda one: one.difficulty)
    for found in what_next(hardest, "contest", challenges, begun_all, everything):
        assert found.words[1] == hardest.id


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_every_success_fits_the_terminal(columns: int, capsys) -> None:
    known = Catalogue()
    challenges = [known.load(name) for name in IDS]
    for challenge in challenges:
        for label, preset in challenge.presets.items():
            told = stories(challenge, preset.bugs, preset.bugs, challenge.reference_text)
            end = Success(told, 5, 3, 4, 36, tuple(what_next(challenge, label, challenges, {}, {})))
            case = CaseResult("a", "A", "passed", 1, 1, 0.1)
            bugs = tuple(
                BugStatus(name, challenge.bugs[name].title, "fixed") for name in preset.bugs
            )
            result = Result(
                *(challenge.id, challenge.file, "0" * 64, "passed", 1, 1, 0.1, (case,), bugs, {})
            )
            console = Console(width=columns, file=None, highlight=False)
            with console.capture() as captured:
                render(
                    result,
                    console,
                    About(planted=preset.bugs, success=end, file=f"{challenge.id}/x.py"),
                )
            rows = captured.get().splitlines()
            assert len(rows) <= (24 if columns >= 80 else 30), (challenge.id, label)
            assert all(len(row) <= columns for row in rows)
            assert rows[0] == f"Planted bugs: {len(told)} of {len(told)} fixed"
            assert any("All cases pass." in row for row in rows)
            assert any("explain" in row for row in rows)


def test_where_room_is_short_fixes_in_other_words_are_shown() -> None:
    challenge = Catalogue().load(MHA)
    bugs = challenge.presets["contest"].bugs
    text = challenge.reference_text.replace("        offset = cache_len\n", "        offset = 0\n")
    told = stories(challenge, bugs, bugs, text)
    assert sum(not story.lines[0].is_same for story in told) == 1
    rows = list(story_lines(Success(told, 1, 1, 0, 9), UNICODE, len(told) + 3))
    assert len(rows) == 1 + len(told) + 1
    rows = list(story_lines(Success(told, 1, 1, 0, 9), UNICODE, len(told)))
    assert len(rows) == 1 + len(told)


def test_both_sides_of_a_long_comparison_are_told() -> None:
    made = Comparison(201, ("mine = " + "a" * 90,), ("right = " + "b" * 90, "more"))
    said = in_short(made, 76)
    assert len(said) <= 76
    assert "mine = aaaaa" in said
    assert "reference: right = bbbbb" in said


def test_stories_with_little_room_are_counted() -> None:
    challenge = Catalogue().load("conversation_prefix")
    bugs = challenge.presets["contest"].bugs
    end = Success(stories(challenge, bugs, bugs, challenge.reference_text), 1, 1, 0, 9)
    assert len(list(story_lines(end, UNICODE, 10))) == 11
    assert len(list(story_lines(end, UNICODE, 999))) >= 3 * len(bugs)
