"""The console report against stored pages. `KVDOJO_UPDATE=1 pytest tests/report` rewrites them."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from grader.judge.focus import Focus
from grader.judge.result import BugStatus, CaseResult, Cause, Result, Where, most_informative_first
from grader.report.terminal_report import IN_FULL, ROWS, About, render

PAGES = Path(__file__).parent / "pages"
PLANTED = ("scale", "mask-offset", "split-view", "dropout", "no-such-line")
LEVELS = {"scale": 2, "mask-offset": 3, "split-view": 5, "dropout": 1, "no-such-line": 1}
BUGS = (
    BugStatus("scale", "Scores are divided by the head size, not by its root", "fixed"),
    BugStatus("mask-offset", "The mask forgets the cached tokens", "present"),
    BugStatus("split-view", "Heads are split in the wrong order", "present"),
    BugStatus("dropout", "Dropout in eval", "changed"),
    BugStatus("no-such-line", "Rewritten", "unknown"),
    BugStatus("never-planted", "Not one of ours", "fixed"),
)
MASK = Cause(
    "wrong_value",
    "The output of step 2 differs from the reference in 12 of 36 places. The first token agrees "
    "and every later one does not, which is what a mask does that ignores the cache.",
    help="Compare the mask's offset with the length of the cache.",
    expected="0.1236",
    actual="0.4561",
    where=Where(1, "cache/key", (0, 3, 1)),
)
HOSTILE = Cause(
    "raised",
    "Raised ValueError: [bold red]\x1b[2J\x1b]0;owned\x07[/] \u202egnp.exe\u202c \u200b\ud800\r\n"
    "second line [link=file:///etc/passwd]click[/link]\x9b31m",
    help="Read `kv.py` line 3.",
    actual="y" * 900,
    where=Where(None, None, None),
)


def _case(name: str, status: str = "passed", cause: Cause | None = None, **more) -> CaseResult:
    points = 2 if status == "passed" else 0
    title = f"Case {name}"
    return CaseResult(name, title, status, points, 2, 0.01, cause, **more)


def _result(*cases: CaseResult, verdict: str = "failed", **more) -> Result:
    score, top = sum(case.points for case in cases), 2 * len(cases)
    given = {"bugs": BUGS, "environment": {}, **more}
    return Result("attention", "kv.py", "0" * 64, verdict, score, top, 0.412, cases, **given)


SKIPPED = Cause(None, "`_split_heads` is not in the file.")
FAILED = _result(
    _case("one-token"),
    _case("chunks-3-3-2", "failed", MASK, why="The mask must count the cached tokens."),
    _case("split-unit", "failed", replace(MASK, where=None, help=None), kind="unit"),
    _case("merge-unit", "skipped", SKIPPED, kind="unit"),
    _case("heads-unit", "skipped", SKIPPED, kind="unit"),
    _case("secret", "failed", Cause("raised", "a secret cause"), visibility="hidden", why="secret"),
    log="hello from the learner\n",
)
RESULTS = {
    "failed": FAILED,
    "passed": _result(_case("one-token"), _case("two"), verdict="passed", bugs=()),
    "error": _result(
        _case("one-token"),
        _case("chunks", "error", Cause(None, "The worker could not be started.")),
        verdict="error",
        bugs=(),
    ),
    "hostile": _result(
        _case("one-token", "failed", HOSTILE),
        log="\x1b[1;31mPASSED\x1b[0m [green]20/20[/green]\n" + "spam\n" * 100 + "the end\x00\n",
        notices=("not isolated: for self-checking only",),
    ),
    "many": _result(
        *(_case(f"c-{n}", "failed", replace(MASK, actual=f"{n}.5")) for n in range(IN_FULL + 3))
    ),
    "not-python": _result(
        *(
            _case(f"c-{n}", "failed", Cause("raised", "kv.py, line 3: invalid syntax"))
            for n in range(9)
        )
    ),
}


def page(
    result: Result, width: int = 100, planted=PLANTED, level="cause", everything=True, **options
) -> str:
    """Return the report as plain text: by default all that there is to tell."""
    console = Console(
        width=width, record=True, file=io.StringIO(), color_system=None, highlight=False, **options
    )
    about = About(level=level, planted=planted, levels=LEVELS, everything=everything)
    render(result, console, about)
    return console.export_text()


@pytest.mark.usefixtures("called_by_its_name")
@pytest.mark.parametrize("name", RESULTS)
def test_pages(name):
    stored = PAGES / f"{name}.txt"
    made = page(RESULTS[name])
    if os.environ.get("KVDOJO_UPDATE"):
        stored.write_text(made, "utf-8")
    assert made == stored.read_text("utf-8")


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(name, width):
    assert max(len(line) for line in page(RESULTS[name], width).splitlines()) <= width


@pytest.mark.parametrize("name", RESULTS)
def test_nothing_acts_on_the_terminal(name):
    assert all(char == "\n" or char.isprintable() for char in page(RESULTS[name]))


def test_markup_of_a_submission_is_shown_as_it_is():
    assert "[bold red]" in page(RESULTS["hostile"])


def test_remaining_bugs_are_not_named():
    shown = page(FAILED)
    assert "still present: 2 (1 medium, 1 hard)" in shown
    for bug in BUGS[1:]:
        assert bug.id not in shown
        assert bug.title not in shown


def test_without_a_work_folder_bugs_are_only_counted():
    shown = page(FAILED, planted=None)
    assert "Known bugs recognised: 2" in shown
    assert BUGS[0].title not in shown
    clean = replace(FAILED, bugs=tuple(replace(bug, status="unknown") for bug in BUGS))
    assert "bugs" not in page(clean, planted=None)


def test_of_some_cases_bugs_are_not_spoken_of_and_not_all_cases_pass():
    console = Console(file=io.StringIO(), width=80)
    about = About(planted=PLANTED, levels=LEVELS, total=65)
    render(_result(_case("one-token"), verdict="passed"), console, about)
    shown = console.file.getvalue()
    assert "1 of 65 cases was run, and it passes." in shown
    assert "All cases pass" not in shown
    assert "lanted bugs" not in shown
    assert "still present" not in shown
    assert not any(bug.title in shown for bug in BUGS)


def test_a_file_that_was_never_executed_is_sent_to_no_hint():
    cause = Cause("raised", "The file could not be loaded: SyntaxError.", "Line 3: x = (")
    console = Console(file=io.StringIO(), width=80)
    render(_result(*(_case(name, "failed", cause) for name in "ab"), bugs=()), console, About())
    shown = console.file.getvalue()
    assert "mend this, and grade again" in shown
    assert "hint" not in shown


def test_hidden_cases_tell_nothing_but_that_they_failed():
    shown = page(FAILED)
    assert "secret" in shown
    assert "a secret cause" not in shown
    assert "raised" not in shown


def test_a_terminal_without_unicode_gets_ascii():
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    render(FAILED, Console(file=raw, width=80, color_system=None), About(level="cause"))
    raw.flush()
    assert b"[FAIL] chunks-3-3-2" in raw.buffer.getvalue()


def test_many_failures_stay_readable():
    shown = page(RESULTS["many"])
    assert shown.count("differs from the reference") == IN_FULL
    assert f"c-{IN_FULL + 2}" in shown
    assert "--case ID" in shown


def test_one_case_of_each_fault_comes_first():
    other = replace(MASK, where=Where(0, "weights", (0,)))
    shown = page(
        _result(*(_case(f"m-{n}", "failed", MASK) for n in range(9)), _case("w", "failed", other))
    )
    assert shown.index("Case w") < shown.index("Case m-1")


def test_what_was_not_run_comes_after_what_was():
    slow = Cause("timeout", "Too slow.", where=Where(0))
    cases = (
        _case("unit", "failed", Cause("timeout", "Not run."), kind="unit"),
        _case("a", "failed", slow),
        _case("b", "failed", slow),
    )
    assert [case.id for case in most_informative_first(cases)] == ["a", "b", "unit"]


def _line_count(result: Result, level="symptom", everything=False, width=80) -> int:
    return len(page(result, width, level=level, everything=everything).splitlines())


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("level", ["verdict", "symptom", "place", "pattern", "cause"])
def test_a_report_fits_the_usual_terminal(name, level):
    assert _line_count(RESULTS[name], level) <= ROWS


def test_what_does_not_fit_is_left_out_of_the_middle():
    long = replace(MASK, rationale="word " * 400, actual="y" * 900, expected="z" * 900)
    many = tuple(BugStatus(f"b{n}", f"Title {n}", "fixed") for n in range(11))
    many = (*many, BugStatus("left", "Left", "present"))
    result = _result(_case("a", "failed", long), bugs=many, log="spam\n" * 99)
    shown = page(result, 80, planted=[bug.id for bug in many], level="symptom", everything=False)
    assert len(shown.splitlines()) <= ROWS
    assert "more lines; `" in shown
    assert "Planted bugs: 11 of 12 fixed" in shown
    assert "and 7 more" in shown
    assert "\nNext: " in shown


def test_unit_cases_are_counted_and_the_scenario_is_told():
    shown = page(FAILED, level="symptom", everything=False)
    assert shown.startswith("✗ chunks-3-3-2")
    assert "split-unit" not in shown
    assert "1 unit case" in shown
    assert "Compare the mask's offset" not in shown


def test_a_hidden_scenario_is_no_other_subject_beside_a_unit_case():
    """What `trace` and `hint` speak of is the unit case, which this level only counts."""
    unit = _case("split-unit", "failed", replace(MASK, where=None, help=None), kind="unit")
    secret = _case("secret", "failed", replace(MASK, help=None), visibility="hidden")
    result = _result(_case("one-token"), unit, secret, bugs=())
    about = About(level="symptom", focus=Focus(None, None, None, "split-unit"))
    for everything in (False, True):
        console = Console(width=100, file=io.StringIO())
        render(result, console, replace(about, everything=everything))
        shown = console.file.getvalue()
        assert "✗ secret" not in shown
        assert "split-unit" not in shown
        assert "1 scenario" in shown or "1 more scenario" in shown
    console = Console(width=100, file=io.StringIO())
    render(result, console, replace(about, level="cause"))
    assert "✗ split-unit" in console.file.getvalue()


def test_counts_only():
    shown = page(FAILED, level="verdict", everything=False)
    assert "chunks-3-3-2" not in shown
    assert BUGS[0].title not in shown
    assert "1 of 4 cases passed" in shown


def test_a_crash_in_every_case_is_told_once_with_its_line():
    crash = Cause("raised", "KeyError was raised: 'k'", "Line 9: x", None, "KeyError", Where(0))
    crash = replace(crash, line=9, raised_at="kv.py:9")
    cases = [_case(f"c-{n}", "failed", crash, kind=("unit", "scenario")[n % 2]) for n in range(6)]
    shown = page(_result(*cases, _case("fine"), bugs=()), level="symptom", everything=False)
    assert shown.count("KeyError was raised") == 1
    assert "kv.py:9" in shown
    assert "The same ends 5 more cases." in shown


def test_skips_take_one_line():
    reasons = [Cause(None, f"Skipped: the file has no `_h{n}`.") for n in range(9)]
    cases = [_case(f"s-{n}", "skipped", cause) for n, cause in enumerate(reasons)]
    shown = page(
        _result(*cases, _case("a"), verdict="passed", bugs=()), level="symptom", everything=False
    )
    assert len([line for line in shown.splitlines() if "skipped" in line]) == 1
    assert len(shown.splitlines()) <= 5
