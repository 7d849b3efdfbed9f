"""A class in which everybody has bugs of their own: each is told of these, by a table that may be wrong in any way."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from grader.classroom.batch_plan import BatchError, BatchPlan, load_plan
from grader.classroom.batch_store import BatchStore
from grader.classroom.class_summary import summarise_class
from grader.classroom.class_variants import (
    MOST_BYTES,
    ClassVariants,
    began_as,
    class_challenge,
    read_variants,
)
from grader.classroom.fingerprint import fingerprint
from grader.classroom.grading_worker import GradingJob, JobAnswer, close_worker, grade
from grader.classroom.run_batch import BatchOptions, run_batch
from grader.cli.main import main
from grader.cli.start_command import begin
from grader.content.planting import plant
from grader.ground.errors import UserError
from grader.judge.replay import to_record
from grader.judge.result import BugStatus, CaseResult, Cause, Result
from grader.report.class_report import class_csv, class_document, class_page, render
from grader.report.learner_pages import learner_pages
from tests.classroom.conftest import CHALLENGE, Workers

TABLE = "id,fresh,bugs,level\nada,11,3,\nben,12,2,hard\ncid,13,,\n"
ENVIRONMENT = {"python": "3", "torch": "2", "triton": None, "device": "cpu", "isolation": ["a"]}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def variants(table: Path) -> ClassVariants:
    return read_variants(CHALLENGE, table)


@pytest.fixture
def handed_in(tmp_path: Path, variants: ClassVariants) -> Path:
    """What ada, ben and cid began with, of which cid mended one bug, and a file of dan, who is not in the table."""
    folder = tmp_path / "in"
    folder.mkdir()
    whole = class_challenge(CHALLENGE, variants)
    for name, variant in variants.learners.items():
        (folder / f"{name}.py").write_text(began_as(whole, variant))
    cid = variants.learners["cid"]
    (folder / "cid.py").write_text(plant(whole, [*cid.bugs[1:], *cid.decoys]))
    (folder / "dan.py").write_bytes(CHALLENGE.starter.read_bytes())
    return folder


def test_a_row_gives_the_very_file_that_start_gives(
    variants: ClassVariants, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVDOJO_STATE", str(tmp_path / "state"))
    whole = class_challenge(CHALLENGE, variants)
    for name, words in {
        "ada": {"fresh": 11, "count": 3},
        "ben": {"fresh": 12, "count": 2, "level": "hard"},
        "cid": {"fresh": 13},
    }.items():
        made = begin(CHALLENGE, tmp_path / name, **words)
        assert made.work.path.read_text() == began_as(whole, variants.learners[name])
        assert made.variant.bugs == variants.bugs_of(name)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + TABLE.replace(",", ";").replace("\n", "\r\n"),
        "\n" + TABLE.replace("\n", "\n\n"),
        "level, bugs,fresh ,id\n,3,11,ada\nhard,2,12,ben\n,,13,cid\n",
        json.dumps(
            [
                {"id": "ada", "fresh": 11, "bugs": 3},
                {"id": "ben", "fresh": 12, "bugs": 2, "level": "hard"},
                {"id": "cid", "fresh": 13, "bugs": None},
            ]
        ),
    ],
)
def test_the_same_table_may_be_written_in_other_ways(
    variants: ClassVariants, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "other"
    path.write_text(text, "utf-8", newline="")
    assert read_variants(CHALLENGE, path) == variants


WRONG = {
    "nothing": (b"", "names nobody"),
    "only a header": (b"id,fresh\n", "names nobody"),
    "no header": (b"ada,11,3,\n", "'ada' is no column"),
    "a misspelt column": (b"id,frehs\nada,1\n", "Did you mean 'fresh'"),
    "a column twice": (b"id,fresh,id\nada,1,ben\n", "twice"),
    "no numbers": (b"id,bugs\nada,1\n", "no `fresh`"),
    "no id": (b"id,fresh\n,1\n", "`id` must name"),
    "somebody twice": (b"id,fresh\nada,1\nada,1\n", "line 3: 'ada' stands there twice"),
    "no number": (b"id,fresh\nada,\n", "from 0 on, missing"),
    "a negative number": (b"id,fresh\nada,-1\n", "not '-1'"),
    "a fraction": (b"id,fresh\nada,1.5\n", "not '1.5'"),
    "a word": (b"id,fresh\nada,x\n", "line 2: `fresh`"),
    "other digits": ("id,fresh\nada,١\n".encode(), "`fresh` must be"),
    "too many digits": (b"id,fresh\nada," + b"9" * 5000, "`fresh` must be"),
    "no bugs": (b"id,fresh,bugs\nada,1,0\n", "`bugs` must be a whole number from 1 on"),
    "too many bugs": (b"id,fresh,bugs\nada,1,500\n", "line 2: only"),
    "an unknown level": (b"id,fresh,level\nada,1,brutal\n", "not 'brutal'"),
    "too many cells": (b"id,fresh\nada,1,2,3\n", "4 cells under 2 columns"),
    "an open quote": (b'id,fresh\n"ada,1\n', "is no CSV"),
    "a huge cell": (b"id,fresh\n" + b"a" * 200_000 + b",1\n", "is no CSV"),
    "a huge table": (b"id,fresh\n" + b"ada,1\n" * (MOST_BYTES // 6), "larger than 1024 KiB"),
    "zeros": (bytes(500), "is not text"),
    "random bytes": (b"\x89PNG\r\n\x1a\n\xff\xfe", "not UTF-8"),
    "an escape sequence": (b"id,fresh\nada,\x1b[31m\n", "`fresh` must be"),
    "half a JSON": (b'[{"id": "ada"', "is no JSON"),
    "deep JSON": (b"[" * 100_000, "nested too deeply"),
    "a JSON object": (b'{"ada": 1}', "is no list"),
    "a JSON number": (b"[1]", "entry 1: is no object"),
    "a key twice": (b'[{"id": "ada", "id": "ben", "fresh": 1}]', "twice in one object"),
    "true": (b'[{"id": "ada", "fresh": true}]', "not True"),
    "a JSON fraction": (b'[{"id": "ada", "fresh": 1.0}]', "not 1.0"),
    "a list for a level": (b'[{"id": "ada", "fresh": 1, "level": []}]', "`level` must be"),
    "a number for an id": (b'[{"id": 3, "fresh": 1}]', "`id` must name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_one_line_and_nothing_is_written(
    handed_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    raw, said = WRONG[name]
    path, out = tmp_path / "wrong.csv", tmp_path / "out"
    path.write_bytes(raw)
    words = ["batch", CHALLENGE.id, str(handed_in), "--out", str(out), "--variants", str(path)]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert len(err) < 500
    assert not out.exists()


@pytest.mark.parametrize("name", ["folder", "missing", "pipe"])
def test_what_is_no_file_is_no_table(tmp_path: Path, name: str) -> None:
    import os

    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="cannot be read"):
        read_variants(CHALLENGE, tmp_path / name)


def test_an_id_that_handed_in_nothing_is_named(
    workers: Workers, handed_in: Path, table: Path
) -> None:
    table.write_text(TABLE + "bem,14,,\n")
    options = BatchOptions(CHALLENGE, handed_in, workers.out, variants=table)
    with pytest.raises(UserError, match=r"no submission is called 'bem'\. Did you mean 'ben'"):
        run_batch(options, pool_opener=workers.open)
    assert not workers.out.exists()


def test_a_batch_that_goes_on_keeps_its_variants(
    workers: Workers, handed_in: Path, table: Path, variants: ClassVariants
) -> None:
    given: dict[str, Any] = {}

    def noted(job: GradingJob) -> JobAnswer:
        if len(given) == 1 and table.exists():
            raise KeyboardInterrupt
        given[job.id] = job.own_bugs
        return _judged(job, {})

    def go(**more: Any) -> tuple[BatchPlan, BatchStore]:
        options = BatchOptions(CHALLENGE, handed_in, workers.out, **more)
        return run_batch(options, pool_opener=workers.open)

    workers.judge = noted
    with pytest.raises(KeyboardInterrupt):
        go(variants=table)
    table.write_text(TABLE.replace("11", "10"))
    with pytest.raises(BatchError, match="began with other variants"):
        go(variants=table, resume=True)
    table.unlink()
    plan, store = go(resume=True)
    assert given == {name: variants.bugs_of(name) for name in ("ada", "ben", "cid", "dan")}
    assert given["dan"] == ()
    assert plan.variants == variants
    assert load_plan(store.plan_path) == plan


def test_a_batch_without_variants_gets_none_later(
    workers: Workers, handed_in: Path, table: Path
) -> None:
    run_batch(BatchOptions(CHALLENGE, handed_in, workers.out), pool_opener=workers.open)
    options = BatchOptions(CHALLENGE, handed_in, workers.out, resume=True, variants=table)
    with pytest.raises(BatchError, match="began with no variants"):
        run_batch(options, pool_opener=workers.open)


@pytest.fixture
def finished(workers: Workers, handed_in: Path, table: Path) -> tuple[BatchPlan, BatchStore]:
    """A batch in which ada and ben mended nothing, and cid one bug."""
    workers.judge = lambda job: _judged(job, {"cid": 1})
    options = BatchOptions(CHALLENGE, handed_in, workers.out, variants=table)
    return run_batch(options, pool_opener=workers.open)


def _judged(job: GradingJob, mended: dict[str, int]) -> JobAnswer:
    cause = Cause("wrong_value", "`output` differs.", None, "[1]", "[2]")
    cases = [CaseResult.judged(case, cause) for case in CHALLENGE.cases.values()]
    bugs = [
        BugStatus(name, name, "fixed" if at < mended.get(job.id, 0) else "present")
        for at, name in enumerate(job.own_bugs or ())
    ]
    digest = sha256(job.source).hexdigest()
    result = Result.of_cases(
        *(CHALLENGE.id, job.file, digest, cases), environment=ENVIRONMENT, bugs=bugs
    )
    return JobAnswer(to_record(result), job.fingerprint, "here")


def test_bugs_are_counted_for_those_who_began_with_them(
    finished: tuple[BatchPlan, BatchStore], variants: ClassVariants
) -> None:
    summary = summarise_class(CHALLENGE, *finished)
    given = [name for one in variants.learners.values() for name in one.bugs]
    assert {bug.id: bug.planted for bug in summary.bugs} == {n: given.count(n) for n in given}
    mended = {bug.id for bug in summary.bugs if bug.fixed}
    assert mended == {variants.learners["cid"].bugs[0]}
    assert sum(bug.fixed + bug.present for bug in summary.bugs) == len(given)
    document = json.loads(json.dumps(class_document(summary), allow_nan=False))
    by_id = {entry["id"]: entry["variant"] for entry in document["submissions"]}
    assert by_id["dan"] is None
    assert (by_id["ben"]["fresh"], by_id["ben"]["bugs"], by_id["ben"]["level"]) == (12, 2, "hard")
    assert list(by_id["cid"]["planted"].values()).count("fixed") == 1
    assert not {bug["id"] for bug in document["bugs"]} & set(CHALLENGE.bugs)
    assert class_csv(summary).count("\n") == 5


def test_difficulty_comes_from_those_who_had_the_bug(
    workers: Workers, tmp_path: Path, table: Path
) -> None:
    """Six learners have one variant and mend all but its last bug; six have another and mend nothing."""
    folder = tmp_path / "many"
    folder.mkdir()
    rows = [f"l{n:02},{11 + n % 2},3," for n in range(12)]
    table.write_text("\n".join(["id,fresh,bugs,level", *rows]))
    for number in range(12):
        (folder / f"l{number:02}.py").write_text(f"# {number}\n")
    workers.judge = lambda job: _judged(job, {job.id: 2 if int(job.id[1:]) % 2 == 0 else 0})
    options = BatchOptions(CHALLENGE, folder, workers.out, variants=table)
    plan, store = run_batch(options, pool_opener=workers.open)
    found = {bug.id: bug for bug in summarise_class(CHALLENGE, plan, store).bugs}
    assert plan.variants is not None
    one, other = (plan.variants.bugs_of(name) for name in ("l00", "l01"))
    shared = set(one) & set(other)
    easy = [found[name].difficulty for name in one[:2] if name not in shared]
    hard = [found[name].difficulty for name in (*one[2:], *other) if name not in shared]
    assert easy
    assert None not in (*easy, *hard)
    assert max(d.points for d in easy if d) < min(d.points for d in hard if d)
    assert all(found[name].planted == 6 for name in {*one, *other} - shared)


def test_one_line_says_who_is_not_in_the_table(finished: tuple[BatchPlan, BatchStore]) -> None:
    summary = summarise_class(CHALLENGE, *finished)
    stream = io.StringIO()
    render(summary, Console(file=stream, width=200))
    line = "1 submission not in the table of variants, so nothing is told of its bugs: dan"
    assert stream.getvalue().count(line) == 1
    assert class_page(summary).count(line) == 1
    plain = replace(finished[0], variants=None)
    assert "table of variants" not in class_page(summarise_class(CHALLENGE, plain, finished[1]))


def test_a_page_speaks_of_the_learners_own_bugs(
    finished: tuple[BatchPlan, BatchStore], variants: ClassVariants
) -> None:
    whole = class_challenge(CHALLENGE, variants)
    pages = {path.stem: page for path, page in learner_pages(CHALLENGE, *finished, "symptom")}
    assert "1 of " + str(len(variants.bugs_of("cid"))) in pages["cid"]
    titles = {bug: whole.bugs[bug].title for one in variants.learners.values() for bug in one.bugs}
    mended = variants.bugs_of("cid")[0]
    for name, page in pages.items():
        told = {bug for bug in titles if f"<code>{bug}</code>" in page or titles[bug] in page}
        same = {bug for bug in titles if titles[bug] == titles[mended]}
        assert told <= (same if name == "cid" else set()), name
    # the lines that differ from the file they began with are ada's own, so there are none; dan's are not compared
    assert "Changes against the starter" not in pages["ada"]
    assert "Changes against the starter" in pages["cid"]
    cause = {path.stem: page for path, page in learner_pages(CHALLENGE, *finished, "cause")}
    assert "Changes against the starter" not in cause["dan"]


@pytest.mark.parametrize(
    ("key", "value"), [("fresh", -1), ("fresh", "11"), ("level", "x"), ("bugs", 3), ("more", 1)]
)
def test_a_changed_plan_is_refused(
    finished: tuple[BatchPlan, BatchStore], key: str, value: object
) -> None:
    path = finished[1].plan_path
    document = json.loads(path.read_text())
    document["variants"]["learners"]["ada"][key] = value
    path.write_text(json.dumps(document))
    with pytest.raises(BatchError, match="cannot be used"):
        load_plan(path)


def test_a_plan_of_other_generated_bugs_is_told_as_such(
    finished: tuple[BatchPlan, BatchStore], variants: ClassVariants
) -> None:
    plan, store = finished
    old = replace(plan, variants=replace(variants, generated="0" * 32))
    with pytest.raises(UserError, match="have changed since"):
        summarise_class(CHALLENGE, old, store)
    ada = replace(variants.learners["ada"], bugs=("g-none",))
    unknown = replace(variants, learners={"ada": ada})
    with pytest.raises(UserError, match="no generated bug 'g-none'"):
        summarise_class(CHALLENGE, replace(plan, variants=unknown), store)


@pytest.fixture
def graded() -> Iterator[Callable[..., dict[str, Any]]]:
    """Really grade a text in this process, as the file of a learner who began with some bugs."""
    mark = fingerprint(CHALLENGE)

    def go(text: str, own_bugs: tuple[str, ...] | None) -> dict[str, Any]:
        job = GradingJob(
            *("x", CHALLENGE.id, mark, "x.py", text.encode(), 7), inside=True, own_bugs=own_bugs
        )
        document = grade(job).document
        assert document is not None
        return document

    yield go
    close_worker()


def test_statuses_are_of_the_own_bugs_and_the_verdict_of_the_file(
    graded: Callable[..., dict[str, Any]], variants: ClassVariants
) -> None:
    whole = class_challenge(CHALLENGE, variants)
    ada, ben = variants.learners["ada"], variants.learners["ben"]
    text = plant(whole, [*ada.bugs[1:], *ada.decoys])
    asked = {"own": ada.bugs, "other": ben.bugs, "none": (), "catalogue": None}
    found = {name: graded(text, own) for name, own in asked.items()}
    states = {
        name: {bug["id"]: bug["status"] for bug in document["bugs"]}
        for name, document in found.items()
    }
    assert states["own"] == {bug: "present" if at else "fixed" for at, bug in enumerate(ada.bugs)}
    assert set(states["other"]) == set(ben.bugs)
    assert states["none"] == {}
    assert set(states["catalogue"]) == {b.id for b in CHALLENGE.bugs.values() if b.kind == "bug"}
    verdicts = {
        (document["verdict"], document["score"], *(case["status"] for case in document["cases"]))
        for document in found.values()
    }
    assert len(verdicts) == 1
    assert found["own"]["verdict"] == "failed"
