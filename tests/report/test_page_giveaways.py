"""What a page tells at a level, pictures and all: nothing of a higher one, for single bugs and for starters."""

from __future__ import annotations

import html
import re

import pytest

from grader.author.giveaways import told_too_early
from grader.content import load_challenge
from grader.content.entries import PLACE, tells
from grader.content.planting import plant
from grader.diagnose.explain_failures import trace_failed_cases, with_first_divergence
from grader.judge import grade_source
from grader.judge.focus import choose_focus
from grader.judge.golden_check import usable_golden
from grader.judge.telling import told
from grader.report.html_report import result_page

LEVELS = ("verdict", "symptom", "place", "pattern")
SHOWN = {
    "multi_head_attention": 4,
    "conversation_prefix": 2,
}  # single bugs, spread over the catalogue


def text_of(page: str) -> str:
    """Return what a page says, without the style sheet and the title in the window's frame."""
    body = page.split("<main>")[1]
    return html.unescape(re.sub(r"<[^>]+>", "", body))


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_gives_nothing_away(name: str, sandbox_for) -> None:
    challenge, box = load_challenge(name), sandbox_for(name)
    golden = usable_golden(challenge, challenge.cases.values())
    starter = list(challenge.presets["default"].bugs)
    single = [bug.id for bug in challenge.bugs.values() if bug.kind == "bug"]
    found, pictures = [], 0
    for ids in [starter, *([one] for one in single[:: len(single) // SHOWN[name] + 1])]:
        source = plant(challenge, ids).encode()
        graded = grade_source(challenge, source, sandbox=box, golden=golden)
        focus = choose_focus(challenge, graded, ids)
        result = with_first_divergence(box, challenge, golden, source, graded, focus)
        shown = told(result, PLACE, challenge)
        outside, inside = (
            trace_failed_cases(box, challenge, shown, source, focus, whole=whole)
            for whole in (True, False)
        )
        for level in LEVELS:
            page = result_page(
                *(challenge, result, source.decode()),
                level=level,
                focus=focus,
                traces=inside if tells(level, PLACE) else outside,
                planted=ids,
                starter=source.decode(),
            )
            pictures += level != "verdict" and "your file" in page
            text = text_of(page)
            found += [
                (ids, level, *pair)
                for pair in told_too_early(challenge, ids, result.cases, level, text)
            ]
    assert found == []
    assert pictures >= 6


def test_what_is_told_too_early_is_found() -> None:
    challenge = load_challenge("multi_head_attention")
    bug = challenge.bugs["seed-causal-offset-plus1"]
    unit = next(case.title for case in challenge.cases.values() if case.kind == "unit")
    for said, what in ((bug.title, "title"), (bug.hints[2], "hint"), (unit, "unit case")):
        found = list(told_too_early(challenge, [bug.id], [], "symptom", f"Look: {said}"))
        assert any(what in kind for kind, _ in found)
    assert not list(told_too_early(challenge, [bug.id], [], "symptom", "It failed."))
