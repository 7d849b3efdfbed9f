"""Every format follows its own rules for every kind of result, and says nothing it must not say."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import pytest
import xmlschema
from export_shapes import SHAPES
from made_results import NASTY, case, cause, document, every_kind

from grader.content.entries import TELLING
from grader.report.exports import FORMATS, NotJudged
from grader.report.exports.github import LARGEST, step_summary
from grader.report.exports.result_files import Exported, as_told, only_isolated

Make = Callable[..., Exported]
XSD = xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))
NASTY_TEXTS = dict.fromkeys(("help", "expected", "actual"), NASTY)
DOCUMENTS = {
    "every-kind": every_kind(),
    "passed": document([case("a", "passed"), case("b", "skipped")]),
    "failed": document([case("a", "failed"), case("b", "passed", 0)]),
    "unjudged": document([case("a", "passed"), case("b", "error")]),
    "nothing-ran": document([case("a", "error")], score=0),
    "nasty": document(
        [case("x" + NASTY, "failed", title=NASTY, cause=cause("raised", rationale=NASTY, **NASTY_TEXTS))],
        submission={"file": NASTY, "sha256": "f" * 64},
    ),
    "long": document([case("a", "failed", cause=cause(rationale="y" * 200_000))]),
}  # fmt: skip


EVERY = [
    (name, kind)
    for name in FORMATS
    for kind, made in DOCUMENTS.items()
    if (name, made["verdict"]) != ("classroom50", "error")  # it has no document for that
]


def rendered(one: Exported, name: str) -> str:
    return FORMATS[name].render([one])


@pytest.mark.parametrize(("name", "kind"), [pair for pair in EVERY if pair[0] in SHAPES])
def test_the_json_formats_follow_their_rules(graded: Make, name: str, kind: str) -> None:
    text = rendered(graded(DOCUMENTS[kind]), name)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    jsonschema.validate(json.loads(text), SHAPES[name], cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_junit_is_valid_xml_of_the_schema(graded: Make, kind: str) -> None:
    text = FORMATS["junit"].render([graded(DOCUMENTS[kind], name) for name in ("ada", "bob")])
    XSD.validate(text)
    suites = junitparser.JUnitXml.fromstring(text.encode())
    assert (suites.tests, len(list(suites))) == (2 * len(DOCUMENTS[kind]["cases"]), 2)


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_the_same_input_gives_the_same_text(graded: Make, name: str, kind: str) -> None:
    assert rendered(graded(DOCUMENTS[kind]), name) == rendered(graded(DOCUMENTS[kind]), name)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "csv"])
def test_bugs_still_in_the_file_are_counted_and_not_named(graded: Make, name: str) -> None:
    text = rendered(graded(every_kind()), name)
    assert "left-in" not in text
    assert "The secret title" not in text


@pytest.mark.parametrize("name", FORMATS)
def test_a_hidden_case_is_not_told(graded: Make, name: str) -> None:
    """Even when the document itself says more than a learner may see."""
    secret = case(
        "ragged-rows",
        "failed",
        title="Ragged rows",
        cause=cause(rationale="Row 3", actual="7", expected="8"),
    )
    made = document([secret], challenge="static_cache")
    made["cases"][0]["id"] = hidden_case("static_cache")
    one = graded(made)
    text = rendered(one, name) + (step_summary([one]) if name == "github" else "")
    for word in ("Ragged", "Row 3", made["cases"][0]["id"], '"7"'):
        assert word not in text


def hidden_case(challenge: str) -> str:
    from grader.content import load_challenge

    cases = load_challenge(challenge).cases.values()
    return next(case.id for case in cases if case.visibility == "hidden")


DRAWN = {
    "id": "random-7",
    "title": "A random scenario: forward",
    "why": "Asks what no other case asks.",
    "setup": {"batch": 2},
    "seed": 7,
    "dtype": "float32",
    "steps": [{"do": "forward", "tokens": 5}],
}


@pytest.mark.parametrize("level", ["verdict", "symptom", "cause"])
@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.for_learners])
def test_a_random_scenario_that_failed_is_a_failing_case(
    graded: Make, name: str, level: str
) -> None:
    """Every case passed, so without it nothing would say why the file did not."""
    made = document([case("a", "passed")], score=0)
    made |= {"verdict": "failed", "random": {"run": 3, "failed": 1, "smallest": DRAWN}}
    (one,) = as_told([graded(made)], level)
    text = rendered(one, name) + (step_summary([one]) if name == "github" else "")
    assert "A random scenario" in text
    assert ("forward" in text) is (level != "verdict")
    if name in SHAPES:
        jsonschema.validate(json.loads(text), SHAPES[name], cls=jsonschema.Draft202012Validator)
    if name == "junit":
        XSD.validate(text)


PARTS = {
    "help": "EVERY VALUE IS HALF.",
    "looks_like": "A KNOWN MISTAKE.",
    "divergence": "STEP 1, SCORES.",
    "manner": "ALONG THE KEYS.",
    "line": None,
    "raised_at": None,
}
TOLD_FROM = {
    "EVERY VALUE": ("pattern", "pattern"),
    "A KNOWN": ("cause", "cause"),
    "STEP 1": ("place", "cause"),
    "ALONG": ("pattern", "cause"),
}


@pytest.mark.parametrize("name", ["check50", "gradescope", "exercism"])
@pytest.mark.parametrize("level", TELLING)
def test_of_a_record_each_level_tells_its_parts(graded: Make, name: str, level: str) -> None:
    """A document without them tells none of it below `cause`: its advice is one text."""
    made = document([case("a", "failed", cause=cause(help="ALL OF IT"))])
    (bare,) = as_told([graded(made)], level)
    assert ("ALL OF IT" in rendered(bare, name)) is (level == "cause")
    made["cases"][0]["cause"]["parts"] = PARTS
    (one,) = as_told([graded(made)], level)
    text = rendered(one, name)
    for said, (first, last) in TOLD_FROM.items():
        at, ends = TELLING.index(level), (TELLING.index(first), TELLING.index(last))
        assert (said in text) is (ends[0] <= at <= ends[1]), (said, level)


def load(graded: Make, name: str, made: dict[str, Any]) -> dict[str, Any]:
    return json.loads(rendered(graded(made), name))


def test_an_error_of_ours_is_never_a_wrong_answer(graded: Make) -> None:
    ours = DOCUMENTS["unjudged"]
    assert "score" not in load(graded, "gradescope", ours)
    assert load(graded, "gradescope", ours)["tests"] == []
    assert load(graded, "prairielearn", ours)["gradable"] is False
    assert load(graded, "exercism", ours)["status"] == "error"
    passed = load(graded, "check50", ours)["results"][1]
    assert (passed["passed"], passed["cause"]["error"]["type"]) == (None, "NotJudged")
    with pytest.raises(NotJudged):
        FORMATS["classroom50"].render([graded(ours)])
    (suite,) = junitparser.JUnitXml.fromstring(FORMATS["junit"].render([graded(ours)]).encode())
    assert (suite.failures, suite.errors) == (0, 1)
    assert next(iter(list(suite)[1])).type == "Infra"
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"].render([graded(ours)])))
    assert (row["verdict"], row["score"], row["percent"]) == ("error", "", "")
    assert "::error" not in FORMATS["github"].render([graded(ours)])


def test_one_case_of_ours_takes_no_marks_from_the_others(graded: Make) -> None:
    made = document([case("a", "passed"), case("b", "failed"), case("c", "error")])
    assert load(graded, "prairielearn", made)["score"] == 0.5
    assert load(graded, "gradescope", made)["score"] == 3.0
    assert load(graded, "classroom50", made)["score"] == 3


def test_a_skipped_case_costs_nothing_where_the_total_is_fixed(graded: Make) -> None:
    from grader.content import load_challenge

    first, second, *_ = load_challenge("static_cache").cases.values()
    made = document(
        [case(first.id, "passed", first.points), case(second.id, "skipped")],
        challenge="static_cache",
    )
    assert load(graded, "gradescope", made)["score"] == first.points + second.points
    assert load(graded, "exercism", made)["status"] == "pass"
    assert [test["status"] for test in load(graded, "exercism", made)["tests"]] == ["pass"]


def test_every_kind_of_outcome_has_its_own_word_in_each_format(graded: Make) -> None:
    """In this order: right, a wrong answer, an exception, out of time, skipped, ours."""
    tests = {
        name: load(graded, name, every_kind())["results" if name == "check50" else "tests"]
        for name in SHAPES
    }
    assert [(test.get("status"), test.get("tags")) for test in tests["gradescope"]] == [
        ("passed", None),
        *[("failed", None)] * 3,
        (None, ["skipped"]),
        (None, ["not-judged"]),
    ]
    states = [test["status"] for test in tests["exercism"]]
    assert states == ["pass", "fail", "error", "error", "fail", "error"]
    assert [test["passed"] for test in tests["classroom50"]] == [True, *[False] * 5]
    assert [test["max-score"] for test in tests["classroom50"]] == [2, 2, 2, 2, 0, 0]
    assert [test["passed"] for test in tests["check50"]] == [True, *[False] * 3, None, None]
    assert [test["max_points"] for test in tests["prairielearn"]] == [2, 2, 2, 2, 0, 0]
    levels = [line.split(" ")[0] for line in rendered(graded(every_kind()), "github").splitlines()]
    assert levels == ["::notice", *["::error"] * 3, "::warning"]


def test_a_changed_bug_is_neither_left_nor_fixed(graded: Make) -> None:
    bug = {"id": "edited", "title": "Edited", "status": "changed"}
    made = every_kind()
    made["bugs"].append(bug)
    (row,) = csv.DictReader(io.StringIO(rendered(graded(made), "csv")))
    assert (row["bugs_left"], row["bugs"]) == ("1", "left-in")
    assert (row["bugs_changed"], row["changed"]) == ("1", "edited")
    output = load(graded, "gradescope", made)["output"]
    assert output.endswith(
        "1 known bug recognised in the file. 1 known bug changed, but not put right."
    )


def test_kinds_of_fault_in_junit(graded: Make) -> None:
    (suite,) = junitparser.JUnitXml.fromstring(
        FORMATS["junit"].render([graded(every_kind())]).encode()
    )
    found = {test.name: [(type(item).__name__, item.type) for item in test] for test in suite}
    assert found == {
        "Case right": [],
        "Case wrong": [("Failure", "wrong_value")],
        "Case raises": [("Error", "raised")],
        "Case slow": [("Error", "Timeout")],
        "Case left-out": [("Skipped", "skipped")],
        "Case ours": [("Error", "Infra")],
    }


def test_results_without_isolation_can_be_refused(graded: Make) -> None:
    made = document([case("a", "passed")])
    assert next(only_isolated([graded(made)])).result.judged
    made["environment"]["isolation"] = ["process", "rlimits"]
    assert not next(only_isolated([graded(made)])).result.judged


@pytest.mark.parametrize("name", ["=1+1", "+1", "-2", "@SUM(A1)", " =1", "＝1"])
def test_no_cell_is_a_formula(graded: Make, name: str) -> None:
    made = document([case("a", "passed")], submission={"file": name, "sha256": "0" * 64})
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"].render([graded(made)])))
    assert row["file"] == f"'{name}"


def test_commands_of_a_submission_never_reach_the_runner(graded: Make) -> None:
    lines = FORMATS["github"].render([graded(DOCUMENTS["nasty"])]).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::notice", "::error"]
    assert all(line.count("::") >= 2 and "%0A::" not in line for line in lines)
    _, where, _ = lines[1].split("::", 2)
    assert where.count(",") == 1
    assert where.count(":") == 0


def test_the_summary_has_no_markup_of_a_submission_and_fits(graded: Make) -> None:
    text = step_summary([graded(DOCUMENTS["nasty"])])
    for word in ("<b>", "@all", "#1 ", "]]>"):
        assert word not in text
    many = step_summary([graded(every_kind())] * 5000)
    assert len(many.encode()) <= LARGEST + 200
    assert "more files are left out here" in many


def test_classroom50_takes_who_and_what_from_the_environment(
    graded: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLASSROOM", "cs50")
    monkeypatch.setenv("SUBMISSION_TAG", "submit/2026-11-20T00-00-00Z-abc")
    made = load(graded, "classroom50", document([case("a", "passed")]))
    assert (made["classroom"], made["submission"][:11]) == ("cs50", "submit/2026")
