"""One page per learner: what its level tells, nothing of others, and never outside the folder or over another's."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from grader.classroom.batch_plan import BatchPlan
from grader.classroom.batch_store import BatchStore
from grader.classroom.class_summary import summarise_class
from grader.classroom.grading_worker import GradingJob, JobAnswer
from grader.classroom.run_batch import BatchOptions, run_batch
from grader.cli import batch_command
from grader.cli.main import main
from grader.content import Catalogue
from grader.content.entries import TELLING
from grader.content.planting import plant
from grader.judge.focus import choose_focus
from grader.judge.replay import to_record
from grader.judge.result import BugStatus, CaseResult, Cause, Result, Where
from grader.report.class_report import class_document, class_page
from grader.report.learner_pages import learner_pages
from tests.classroom.conftest import CHALLENGE, Workers

Batch = tuple[BatchPlan, BatchStore]
BUGS = CHALLENGE.presets["default"].bugs
LEFT = CHALLENGE.bugs[BUGS[0]]
ENVIRONMENT = {"python": "3", "torch": "2", "triton": None, "device": "cpu", "isolation": ["a"]}
CAUSE = Cause(
    "wrong_value",
    "`output` differs in 3 values.",
    "EVERY VALUE IS HALF OF IT.",
    "[1]",
    "[2]",
    Where(0, "output", (0, 0)),
    looks_like="A KNOWN MISTAKE.",
    divergence="STEP 1, `scores`.",
    manner="ALONG THE KEYS.",
)
HOSTILE = (
    "<script>alert(1)</script>",
    "..",
    "...",
    "-rf",
    "a/../../../etc/passwd",
    "C:\\windows\\x",
    "\u202egpj.exe",
    "Anna",
    "anna",
    "ANNA",
    "Änna",
    "An\u0301na",
    "x" * 200,
    "x" * 199 + "y",
    '" onmouseover="alert(1)',
    "new\nline",
    "%2e%2e%2f",
    "{{ 7*7 }}",
    "   ",
    "con",
)


def failed(job: GradingJob) -> JobAnswer:
    """Answer as a grading of a file with one bug left does, with all that is known of it."""
    cases = [
        CaseResult.judged(
            case, replace(CAUSE, actual=f"[{at}]") if case.id in LEFT.witnesses else None
        )
        for at, case in enumerate(CHALLENGE.cases.values())
    ]
    bugs = [
        BugStatus(name, CHALLENGE.bugs[name].title, "present" if name == LEFT.id else "fixed")
        for name in BUGS
    ]
    result = Result.of_cases(
        *(CHALLENGE.id, job.file, sha256(job.source).hexdigest(), cases),
        environment=ENVIRONMENT,
        bugs=bugs,
        secrets={"one-head": 424242},
    )
    return JobAnswer(to_record(result), job.fingerprint, "here")


@pytest.fixture
def graded(workers: Workers, tmp_path: Path) -> Callable[[int], Batch]:
    """Return a batch of so many learners, whose files have the same bug."""

    def go(learners: int) -> Batch:
        folder = tmp_path / "in"
        folder.mkdir()
        for number in range(learners):
            (folder / f"l{number:03}.py").write_text(f"# {number}\n{plant(CHALLENGE, [LEFT.id])}")
        workers.judge = failed
        options = BatchOptions(CHALLENGE, folder, workers.out)
        return run_batch(options, pool_opener=workers.open)

    return go


def test_a_page_tells_what_its_level_tells_and_no_more(graded) -> None:
    plan, store = graded(1)
    pages = {level: next(learner_pages(CHALLENGE, plan, store, level))[1] for level in TELLING}
    first_told = {
        "symptom": "differs in 3 values.",
        "place": "STEP 1",
        "pattern": "ALONG THE KEYS.",
        "cause": "A KNOWN MISTAKE.",
    }
    for level, page in pages.items():
        for of, text in first_told.items():
            assert (text in page) is (TELLING.index(level) >= TELLING.index(of)), (level, of)
        assert "EVERY VALUE" in page if level == "pattern" else "EVERY VALUE" not in page
        assert LEFT.title not in page
        assert "424242" not in page
    unit = next(c for c in LEFT.witnesses if CHALLENGE.cases[c].kind == "unit")
    assert unit in pages["cause"]
    assert unit not in pages["pattern"]


def test_the_case_in_focus_comes_first_as_it_does_on_the_terminal(graded) -> None:
    plan, store = graded(1)
    focus = choose_focus(CHALLENGE, Result.from_document(store.result(plan.entries[0])))
    assert focus.bug == LEFT.id
    page = next(learner_pages(CHALLENGE, plan, store, "symptom"))[1]
    others = [n for n in LEFT.witnesses if CHALLENGE.cases[n].kind == "scenario"]
    shown = [CHALLENGE.cases[n].title for n in others if n != focus.scenario]
    assert all(page.index(CHALLENGE.cases[focus.scenario].title) < page.index(t) for t in shown)
    assert CHALLENGE.cases[focus.scenario].why in page


def test_hostile_names_stay_in_the_folder_and_apart(workers: Workers, tmp_path: Path) -> None:
    """As archives bring them: members may have any name."""
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for number, name in enumerate(HOSTILE):
            moodle = f"{name}_{number % 3}_assignsubmission_file_/kv_attention.py"
            made.writestr(moodle, f"# {number}\n{plant(CHALLENGE, [LEFT.id])}")
    workers.judge = failed
    plan, store = run_batch(BatchOptions(CHALLENGE, archive, workers.out), pool_opener=workers.open)
    written = list(learner_pages(CHALLENGE, plan, store, "symptom"))
    assert len(written) == len(plan.entries) >= len(HOSTILE) - 6
    names = [path.name for path, _ in written]
    assert len({name.casefold() for name in names}) == len(names)
    for path, page in written:
        assert path.parent == workers.out / "pages"
        assert path.resolve().is_relative_to(workers.out.resolve() / "pages")
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.html", path.name)
        assert len(path.name) < 100
        assert "\u202e" not in page
        assert "<script" not in page
        assert "onmouseover=" not in page.replace("&#34; onmouseover=", "")
    for entry, (_, page) in zip(plan.entries, written, strict=True):
        for other in plan.entries:
            if other.learner not in entry.learner and len(other.learner) > 5:
                assert f"<bdi>{other.learner}" not in page


def test_the_class_page_leads_to_each_page(graded) -> None:
    plan, store = graded(3)
    summary = summarise_class(CHALLENGE, plan, store)
    linked = set(re.findall(r'href="(pages/[^"]+)"', class_page(summary, "symptom")))
    assert linked == {f"pages/{entry.id}.html" for entry in plan.entries}
    assert "pages/" not in class_page(summary)


def test_difficulties_are_told_and_in_the_document(graded) -> None:
    plan, store = graded(8)
    summary = summarise_class(CHALLENGE, plan, store)
    document = json.loads(json.dumps(class_document(summary), allow_nan=False))
    assert document["schema"] == "kvdojo/class/v1"
    by_id = {bug["id"]: bug for bug in document["bugs"]}
    hard, easy = by_id[LEFT.id], by_id[BUGS[1]]
    assert hard["difficulty"]["points"] > 1500 > easy["difficulty"]["points"]
    assert hard["difficulty"]["low"] < hard["difficulty"]["points"] < hard["difficulty"]["high"]
    assert f"{hard['difficulty']['points']:.0f} (" in class_page(summary)


def test_a_submission_that_was_refused_has_a_page_that_says_why(
    workers: Workers, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "broken.zip").write_text("no")
    (folder / "gone.py").write_text("x = 1\n")
    workers.judge = failed
    plan, store = run_batch(BatchOptions(CHALLENGE, folder, workers.out), pool_opener=workers.open)
    store.source_path(next(e for e in plan.entries if e.id == "gone")).unlink()
    pages = {path.stem: page for path, page in learner_pages(CHALLENGE, plan, store, "symptom")}
    assert "could not be judged" in pages["broken"]
    assert "the archive is damaged" in pages["broken"]
    assert "differs in 3 values" in pages["gone"]


def test_an_interrupted_batch_writes_each_page_once(
    workers: Workers, klass: Path, monkeypatch, capsys
) -> None:
    workers.judge = failed
    calls: list[Path] = []
    write = batch_command.terminal.write_file

    def noted(path: Path, content: str) -> None:
        calls.append(path)
        write(path, content)

    def interrupted(job: GradingJob) -> JobAnswer:
        raise KeyboardInterrupt

    original = run_batch
    monkeypatch.setattr(
        "grader.classroom.run_batch.run_batch",
        lambda options, meter: original(options, meter, pool_opener=workers.open),
    )
    monkeypatch.setattr(batch_command.terminal, "write_file", noted)
    workers.tricks["e"] = interrupted
    words = ["batch", CHALLENGE.id, str(klass), "--out", str(workers.out)]
    assert main(words) == 130
    assert calls == []
    del workers.tricks["e"]
    assert main([*words, "--resume"]) == 1
    pages = [path for path in calls if path.parent.name == "pages"]
    assert sorted(path.stem for path in pages) == list("abcdefgh")
    before = {path: path.read_bytes() for path in pages}
    assert main([*words, "--resume"]) == 1
    assert {path: path.read_bytes() for path in pages} == before
    # another level needs no grading
    asked = len(workers.given)
    assert main([*words, "--resume", "--tell", "verdict"]) == 1
    assert len(workers.given) == asked
    assert "differs in 3 values" not in pages[0].read_text()
    capsys.readouterr()
    assert main([*words, "--resume", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((workers.out / "class.json").read_text())


def test_no_more_is_told_than_the_challenge_allows(
    workers: Workers, klass: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(Catalogue, "load", lambda self, name: replace(CHALLENGE, tell="symptom"))
    words = ["batch", CHALLENGE.id, str(klass), "--out", str(workers.out), "--tell", "cause"]
    assert main(words) == 2
    assert "at most 'symptom'" in capsys.readouterr().err
    assert not workers.out.exists()
