"""Each submission gets one verdict, whatever is killed, torn, lost or tampered with in between."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from grader.classroom.batch_plan import BatchError, PlannedSubmission, load_plan
from grader.classroom.batch_store import BatchStore
from grader.classroom.grading_worker import GradingJob, JobAnswer
from grader.classroom.journal import Journal, read_journal
from grader.classroom.run_batch import BatchObserver, BatchStart
from grader.content import load_challenge
from grader.content.validation import load_schema, schema_errors
from grader.judge import GraderError
from tests.classroom.conftest import Workers, answer, lost, verdicts

RunBatch = Callable[..., BatchStore]
ALL = dict.fromkeys("abcdefgh", "passed")


def events(store: BatchStore, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_journal(store.journal_path) if event["event"] == kind]


def finished(store: BatchStore) -> Counter[str]:
    return Counter(event["id"] for event in events(store, "finished"))


class Cut(BatchObserver):
    """Ends the run, as Ctrl-C or a kill would, once so many are finished."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.after, self.error, self.start = after, error, None

    def grading_started(self, start: BatchStart) -> None:
        self.start = start

    def submission_finished(self, entry: Any, verdict: str) -> None:
        self.after -= 1
        if self.after == 0:
            raise self.error


def test_every_submission_is_graded_once(workers: Workers, run: RunBatch) -> None:
    store = run()
    assert verdicts(store) == ALL
    assert sorted(workers.given) == list("abcdefgh")
    assert finished(store) == Counter("abcdefgh")
    for path in store.results.glob("*.json"):
        assert not list(
            schema_errors(json.loads(path.read_text()), load_schema("result-v1"), path.name)
        )


@pytest.mark.parametrize("after", range(1, 8))
def test_a_batch_goes_on_after_a_cut_at_any_point(
    workers: Workers, run: RunBatch, after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(observer=Cut(after))
    again = Cut(0)
    store = run(resume=True, observer=again)
    assert verdicts(store) == ALL
    assert finished(store) == Counter("abcdefgh")
    assert again.start is not None
    assert len(again.start.finished) == after
    assert again.start.interrupted == len(workers.given) - 8
    assert [event["finished"] for event in events(store, "begin")] == [0, after]


def test_a_kill_between_result_and_journal_costs_no_second_grading(
    workers: Workers, run: RunBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Journal.add

    def torn(self: Journal, event: str, **facts: Any) -> None:
        if event == "finished" and facts["id"] == "c":
            raise SystemError("killed")
        real(self, event, **facts)

    monkeypatch.setattr(Journal, "add", torn)
    with pytest.raises(SystemError):
        run()
    monkeypatch.setattr(Journal, "add", real)
    store = run(resume=True)
    assert workers.given.count("c") == 1
    assert finished(store) == Counter("abcdefgh")


def test_a_torn_journal_and_half_written_files_are_no_obstacle(
    workers: Workers, run: RunBatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(observer=Cut(3))
    store = BatchStore(workers.out, ".py")
    with store.journal_path.open("ab") as stream:
        stream.write(b'{"event": "finished", "id": "h", "verd')
    (store.results / ".h.json.x1.tmp").write_text("{")
    (store.results / "g.json").write_text('{"schema": "kvdojo/resu')
    (store.results / "f.json").write_text("[" * 100_000)
    store = run(resume=True)
    assert verdicts(store) == ALL
    assert not list(store.results.glob(".*"))
    assert all(json.loads(line) for line in store.journal_path.read_text().split("\n")[-4:-1])


class KilledWhileCopying(BatchObserver):
    """Ends the run once so many submissions are copied, before there is a plan."""

    def __init__(self, after: int) -> None:
        self.after = after

    def submission_found(self, entry: PlannedSubmission) -> None:
        self.after -= 1
        if self.after == 0:
            raise SystemError("killed")


@pytest.mark.parametrize("after", [1, 8])
def test_a_kill_while_the_plan_is_made_leaves_nothing_in_the_way(
    workers: Workers, run: RunBatch, after: int
) -> None:
    with pytest.raises(SystemError):
        run(observer=KilledWhileCopying(after))
    assert not (workers.out / "batch.json").exists()
    assert len(list((workers.out / "sources").iterdir())) == after
    with pytest.raises(BatchError, match="not empty"):
        run()
    assert verdicts(run(resume=True)) == ALL


def test_a_second_batch_in_the_same_folder_is_refused(workers: Workers, run: RunBatch) -> None:
    run()
    with pytest.raises(BatchError, match="--resume"):
        run()
    assert verdicts(run(resume=True)) == ALL
    assert len(workers.given) == 8


def test_two_batches_at_once_in_one_folder_are_refused(workers: Workers, run: RunBatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(observer=Cut(1))
    with (
        Journal(workers.out / "journal.jsonl"),
        pytest.raises(BatchError, match="another batch"),
    ):
        run(resume=True)


def test_a_folder_with_other_things_is_left_alone(
    workers: Workers, run: RunBatch, tmp_path: Path
) -> None:
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "today.txt").write_text("rain")
    for resume in (False, True):
        with pytest.raises(BatchError, match="not empty"):
            run(out=tmp_path / "diary", resume=resume)
    with pytest.raises(BatchError, match="not a folder"):
        run(out=tmp_path / "diary" / "today.txt")


def test_a_resumed_batch_grades_the_files_it_began_with(
    workers: Workers, run: RunBatch, klass: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(observer=Cut(2))
    for path in klass.glob("*.py"):
        path.write_text("# changed since\n")
    (klass / "late.py").write_text("# too late\n")
    assert verdicts(run(resume=True)) == ALL


@pytest.mark.parametrize("key", ["challenge", "searched", "fingerprint"])
def test_a_plan_of_another_challenge_folder_or_version_is_refused(
    workers: Workers, run: RunBatch, key: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(observer=Cut(2))
    path = workers.out / "batch.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, key: "other"}))
    with pytest.raises(BatchError, match="another --out"):
        run(resume=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"schema": "kvdojo/batch/v1"}',
        '{"schema": 1, "entries": []}',
    ],
)
def test_a_damaged_plan_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "batch.json"
    path.write_text(text)
    with pytest.raises(BatchError, match="cannot be used"):
        load_plan(path)


def test_a_plan_cannot_lead_elsewhere(workers: Workers, run: RunBatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(observer=Cut(1))
    path = workers.out / "batch.json"
    path.write_text(path.read_text().replace('"id": "h"', '"id": "../h"'))
    with pytest.raises(BatchError, match="plain name"):
        run(resume=True)


def test_a_submission_whose_worker_was_lost_is_tried_once_more(
    workers: Workers, run: RunBatch
) -> None:
    losses = iter([lost])
    workers.tricks["c"] = lambda job: next(losses, answer)(job)
    store = run()
    assert verdicts(store) == ALL
    assert workers.given.count("c") == 2
    assert workers.given[-1] == "c", "suspects come after all others"


def test_a_submission_that_kills_its_worker_twice_is_an_error(
    workers: Workers, run: RunBatch
) -> None:
    workers.tricks["c"] = lost
    store = run()
    assert verdicts(store) == {**ALL, "c": "error"}
    assert workers.given.count("c") == 2


def test_suspects_are_tried_one_at_a_time(workers: Workers, run: RunBatch) -> None:
    """A killer takes its neighbours down with it; alone, only the killer is lost again."""
    pending: dict[str, Future[Any]] = {}
    seen: list[set[str]] = []
    tries: Counter[str] = Counter()

    def submit(fn: object, job: GradingJob) -> Future[Any]:
        future: Future[Any] = Future()
        pending[job.id] = future
        tries[job.id] += 1
        seen.append(set(pending))
        if job.id == "d":  # the whole worker goes
            for waiting in pending.values():
                waiting.set_exception(lost_error())
            pending.clear()
        elif len(pending) == 4 or tries[job.id] > 1 or job.id == "h":
            for name, waiting in pending.items():
                waiting.set_result(
                    answer(
                        GradingJob(
                            **{**job.__dict__, "id": name, "source": b"# %s\n" % name.encode()}
                        )
                    )
                )
            pending.clear()
        return future

    workers.submit = submit
    store = run()
    assert verdicts(store) == {**ALL, "d": "error"}
    assert all(len(group) == 1 for group in seen[-4:])
    assert set().union(*seen[-4:]) == set("abcd")


def lost_error() -> Exception:
    from grader.classroom.pool import WorkerLost

    return WorkerLost("gone")


def test_an_answer_by_other_content_does_not_count(workers: Workers, run: RunBatch) -> None:
    first = iter([lambda job: JobAnswer(answer(job, "failed").document, "other", "stale")])
    workers.tricks["b"] = lambda job: next(first, answer)(job)
    assert verdicts(run()) == ALL
    assert workers.excluded == ["stale"]
    workers.tricks["b"] = lambda job: JobAnswer(None, "other", "last")
    with pytest.raises(BatchError, match="no worker"):
        run(out=workers.out.parent / "second")


def test_a_damaged_copy_is_not_judged(workers: Workers, run: RunBatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(observer=Cut(1))
    (workers.out / "sources" / "g.py").write_text("# not what was handed in\n")
    (workers.out / "sources" / "h.py").unlink()
    assert verdicts(run(resume=True)) == {**ALL, "g": "error", "h": "error"}


def test_our_own_bug_in_one_file_does_not_keep_the_others(workers: Workers, run: RunBatch) -> None:
    workers.tricks["e"] = lambda job: answer(GradingJob(**{**job.__dict__, "source": None}))
    assert verdicts(run()) == {**ALL, "e": "error"}


def test_a_machine_that_cannot_grade_ends_the_batch(workers: Workers, run: RunBatch) -> None:
    def unable(job: GradingJob) -> JobAnswer:
        raise GraderError("no isolation here")

    workers.tricks["d"] = unable
    with pytest.raises(GraderError, match="no isolation"):
        run()
    workers.tricks.clear()
    assert verdicts(run(resume=True)) == ALL


def test_an_empty_folder_is_refused(workers: Workers, run: RunBatch, klass: Path) -> None:
    for path in klass.glob("*.py"):
        path.unlink()
    with pytest.raises(BatchError, match="no submissions"):
        run()


def test_submissions_that_are_json_keep_their_suffix(
    workers: Workers, run: RunBatch, tmp_path: Path
) -> None:
    challenge = load_challenge("broken_test")
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "anna.json").write_text("{}")
    (folder / "ben.json").write_text("[]")
    workers.judge = lambda job: answer(job, challenge=challenge)
    store = run(challenge=challenge, searched=folder)
    assert sorted(path.name for path in store.sources.iterdir()) == ["anna.json", "ben.json"]
    assert verdicts(store) == {"anna": "passed", "ben": "passed"}
    (folder / "notes.py").write_text("x = 1\n")
    (folder / "anna.json").unlink()
    (folder / "ben.json").unlink()
    with pytest.raises(BatchError, match="holds no submissions: JSON files"):
        run(challenge=challenge, searched=folder, out=tmp_path / "second")
