"""Tasks follow from the key alone, give nothing away, and are refused once anything about them has changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace

import pytest
from arena_draws import KEY, MANY, NAME

from grader.arena.arena_task import (
    CANARY,
    Planting,
    planted_file,
    read_public,
    read_sealed,
    restored,
    sealed_bytes,
    task_folders,
)
from grader.arena.bench import Bench
from grader.arena.draw_tasks import (
    DrawOptions,
    NotProven,
    _planting,
    _proven,
    checked_options,
    commitment,
    draw_task,
    drawn,
    read_key,
    write_draw,
)
from grader.content import Catalogue, ContentError, load_challenge
from grader.content.bug_detection import entry_status
from grader.content.planting import PlantError
from grader.ground.errors import UserError
from grader.ground.paths import ROOT


def test_the_same_key_draws_the_same_tasks_and_another_key_others(benches, pool, tasks) -> None:
    bench = benches.of(NAME)
    assert draw_task(bench, pool, KEY, 0, MANY) == tasks[0]
    other = draw_task(bench, pool, KEY[::-1], 0, MANY)
    assert other.public.source != tasks[0].public.source
    assert other.sealed.inputs != tasks[0].sealed.inputs
    assert tasks[0].sealed.inputs == tasks[1].sealed.inputs, "one set of secret inputs per draw"


def test_a_task_is_what_was_asked_for(tasks, pool) -> None:
    for task in tasks:
        assert len(task.sealed.bugs) == 3
        assert task.public.source.startswith(f"# {CANARY}\n")
        for bug in task.sealed.bugs:
            assert bug.generated == bug.id.startswith("g-")
            assert bug.lines
            text = task.public.source.splitlines()
            assert all(1 <= first <= last <= len(text) for first, last in bug.lines)
    kinds = {bug.generated for task in tasks for bug in task.sealed.bugs}
    assert kinds == {True, False}


def test_the_public_part_names_nothing_that_is_planted(tasks, pool) -> None:
    for task in tasks:
        told = json.dumps(task.public.document())
        for entry in [*task.sealed.bugs, *task.sealed.decoys]:
            known = pool.entries[entry.id]
            assert entry.id not in told + task.public.source
            assert known.title not in told
            assert known.symptom not in told
            assert known.explanation not in told
        assert task.sealed.salt not in told
        assert str(task.sealed.inputs) not in told
        assert task.public.symptoms
        assert {s.case for s in task.public.symptoms} <= set(pool.challenge.cases)


def test_what_lies_on_disk_is_read_back_and_promised(drawn, tasks) -> None:
    promised = json.loads((drawn / "manifest.json").read_text())
    assert promised["commitment"] == commitment(KEY)
    assert KEY.hex() not in (drawn / "manifest.json").read_text()
    folders = task_folders(drawn)
    assert folders == task_folders(drawn / "public")
    for folder, task in zip(folders, tasks, strict=True):
        assert read_public(folder, Catalogue()) == task.public
        assert read_sealed(folder) == task.sealed
        assert task_folders(folder) == [folder]
        raw = (drawn / "sealed" / f"{task.sealed.id}.json").read_bytes()
        assert raw == sealed_bytes(task.sealed)
        assert promised["sealed"][task.sealed.id] == hashlib.sha256(raw).hexdigest()
        assert CANARY in raw.decode()


def test_a_sealed_part_restores_the_very_file(tasks) -> None:
    file = restored(Catalogue(), tasks[0].sealed)
    assert file.source == tasks[0].public.source
    with pytest.raises(ContentError, match="has changed since it was drawn"):
        restored(Catalogue(), replace(tasks[0].sealed, sha256="0" * 64))
    gone = replace(tasks[0].sealed.bugs[0], id="no-such-bug")
    with pytest.raises(ContentError, match="has no bug or decoy 'no-such-bug'"):
        restored(Catalogue(), replace(tasks[0].sealed, bugs=(gone,)))


def test_draws_keep_to_their_options(pool) -> None:
    import random

    for number in range(40):
        draw = random.Random(number)
        try:
            planting = _planting(pool, draw, DrawOptions(1, 5, 0.5, number % 2 == 0))
        except PlantError:
            continue
        bugs = [pool.entries[name] for name in planting.bugs]
        assert 1 <= len(bugs) <= 5
        assert sum(bug.raises for bug in bugs) <= 1
        assert len({bug.witnesses for bug in bugs}) == len(bugs)
        assert (planting.disguise is not None) == (number % 2 == 0)
    for share, wanted in ((0.0, {False}), (1.0, {True})):
        made = [_planting(pool, random.Random(n), DrawOptions(2, 2, share)).bugs for n in range(9)]
        assert {name.startswith("g-") for names in made for name in names} == wanted


def test_a_file_can_be_left_as_it_was_published(pool) -> None:
    import random

    planting = _planting(pool, random.Random(1), DrawOptions(2, 2, 0.0, disguised=False))
    file = planted_file(pool.challenge, pool.generated, planting)
    assert (
        file.mended.partition("\n")[2].splitlines()[0]
        == (pool.challenge.reference_text.splitlines()[0])
    )


def test_what_a_challenge_cannot_give_is_said() -> None:
    document, paged = load_challenge("broken_test"), load_challenge("broken_test")
    with pytest.raises(UserError, match="draw it with --plain"):
        checked_options(document, None, DrawOptions())
    with pytest.raises(UserError, match="has no generated bugs"):
        checked_options(paged, None, DrawOptions(generated=1.0, disguised=False))
    assert checked_options(paged, None, DrawOptions(disguised=False)).generated == 0.0


def test_bugs_that_do_not_go_together_are_no_task(benches, pool) -> None:
    with pytest.raises(UserError, match="no task 0 of 'multi_head_attention' can be drawn"):
        draw_task(benches.of(NAME), pool, KEY, 0, DrawOptions(90, 90))


def test_each_decoy_can_be_told_from_the_reference_that_somebody_pastes(benches, pool) -> None:
    name = "decoy-batch_seq_len-name"  # another name for a variable, and a disguise gives each another name
    decoys = {other for other, entry in pool.entries.items() if entry.kind == "decoy"} - {name}
    entries = {other: entry for other, entry in pool.entries.items() if other not in decoys}
    few, bench = replace(pool, entries=entries), benches.of(NAME)
    for number in range(4):
        sealed = draw_task(bench, few, KEY, number, DrawOptions(1, 1)).sealed
        pasted = entry_status(
            restored(benches.catalogue, sealed).challenge, pool.challenge.reference_text
        )
        assert [decoy.id for decoy in sealed.decoys if pasted[decoy.id] == "present"] == []
    plain = draw_task(bench, few, KEY, 0, DrawOptions(1, 1, disguised=False))
    assert [decoy.id for decoy in plain.sealed.decoys] == [name]


def test_what_depends_on_memory_that_nobody_wrote_is_no_task(tmp_path) -> None:
    """The bug reads slots without a token, and the decoy does not clear them: alone, each is as good as ever."""
    source, bug = ROOT / "challenges" / "static_cache", "nan-in-masked-slot-propagates"
    shutil.copytree(source, tmp_path / "challenges" / source.name)
    shutil.copytree(ROOT / "reference", tmp_path / "reference")
    path = tmp_path / "challenges" / source.name / "bugs.json"
    document = json.loads(path.read_text())
    next(entry for entry in document["bugs"] if entry["id"] == bug)["excludes"] = []
    path.write_text(json.dumps(document))
    challenge = Catalogue(tmp_path).load(source.name)
    bench = Bench(challenge)
    try:
        for decoys in ((), ("decoy-uninitialised-cache-tail",)):
            file = planted_file(challenge, None, Planting((bug,), decoys, None))
            if decoys:
                with pytest.raises(NotProven, match="memory that nobody wrote"):
                    _proven(bench, file)
            else:
                assert _proven(bench, file).verdict == "failed"
    finally:
        bench.close()


def test_decoys_that_change_what_the_bugs_do_are_no_task(benches, pool, monkeypatch) -> None:
    bench, decoy = benches.of(NAME), "decoy-todo-remove-validation"
    planting = Planting(("value-projected-from-key",), (decoy,), None)
    file = planted_file(pool.challenge, pool.generated, planting)
    published = bench.published
    assert _proven(bench, file).verdict == "failed"

    def other_without(challenge, source, *words):
        result = published(challenge, source, *words)
        if source != file.without(decoy):
            return result
        failed = next(case for case in result.cases if case.status == "failed")
        return replace(result, cases=tuple(case for case in result.cases if case is not failed))

    monkeypatch.setattr(bench, "published", other_without)
    with pytest.raises(NotProven, match="its decoys change what its bugs do"):
        _proven(bench, file)


def test_names_have_bytes_of_their_own() -> None:
    assert len({drawn(KEY, f"{name}/{n}") for name in ("a", "b") for n in range(50)}) == 100


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "could be guessed"),
        (b"short", "could be guessed"),
        (b"a" * 64, "could be guessed"),
        (b"ab" * 32, "could be guessed"),
        (b"x" * 5000, "is no key"),
    ],
)
def test_a_weak_key_is_refused(tmp_path, content, says) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_key(path)


def test_what_is_no_file_is_no_key(tmp_path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_key(tmp_path / "key")
    with pytest.raises(UserError, match="is no key"):
        read_key(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is no key"):
        read_key(tmp_path / "pipe")


def test_nothing_is_written_over(drawn, pool, tasks, tmp_path) -> None:
    with pytest.raises(UserError, match="exists already"):
        write_draw(drawn, KEY, [pool], tasks, MANY)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="exists already"):
        write_draw(tmp_path / "file", KEY, [pool], tasks, MANY)


@pytest.fixture
def folder(drawn, tmp_path):
    """A copy of what was drawn, to be spoilt."""
    shutil.copytree(drawn, tmp_path / "copy")
    return task_folders(tmp_path / "copy")[0]


def spoil(path, **changes) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, **changes}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "../../../etc/passwd"}, r"\$\.id"),
        ({"id": "multi_head_attention-0000\n"}, "is not a task of"),
        ({"file": "../kv_attention.py"}, r"\$\.file"),
        ({"file": "other.py"}, "is not a task of"),
        ({"challenge": "no_such_challenge"}, "no_such_challenge"),
        ({"challenge": "../x"}, r"\$\.challenge"),
        ({"sha256": "0" * 64}, "was changed since it was drawn"),
        ({"symptoms": [{"case": 1}]}, r"\$\.symptoms"),
        ({"brief": None}, r"\$\.brief"),
        ({"more": 1}, "Additional properties"),
    ],
)
def test_a_hostile_task_is_refused(folder, changes, says) -> None:
    spoil(folder / "task.json", **changes)
    with pytest.raises((ContentError, UserError), match=says):
        read_public(folder, Catalogue())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"schema": NaN}', "[" * 100_000, '{"id": 1, "id": 2}', "\udcff"],
)
def test_a_task_that_is_no_document_is_refused(folder, text) -> None:
    (folder / "task.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ContentError):
        read_public(folder, Catalogue())


def test_a_file_that_was_changed_is_refused(folder) -> None:
    path = folder / "kv_attention.py"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(ContentError, match="was changed since it was drawn"):
        read_public(folder, Catalogue())
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ContentError):
        read_public(folder, Catalogue())
    path.write_bytes(b"#" * (300 << 10))
    with pytest.raises(ContentError, match="larger than"):
        read_public(folder, Catalogue())
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ContentError, match="not an ordinary file"):
        read_public(folder, Catalogue())


def test_a_sealed_part_that_is_not_this_task_s_is_refused(folder) -> None:
    kept = folder.parent.parent / "sealed"
    first, second = sorted(kept.glob("*.json"))
    good = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(ContentError, match="is the sealed part of"):
        read_sealed(folder)
    for changes in ({"bugs": []}, {"inputs": -1}, {"salt": ""}, {"disguise": 1.5}, {"bugs": [{}]}):
        first.write_bytes(good)
        spoil(first, **changes)
        with pytest.raises(ContentError):
            read_sealed(folder)
    first.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_sealed(folder)
    with pytest.raises(UserError, match="cannot be read"):
        read_sealed(folder, folder / "no-such-folder")


def test_what_is_no_task_is_said(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "task.json"):
        with pytest.raises(UserError, match="is no task"):
            task_folders(path)
