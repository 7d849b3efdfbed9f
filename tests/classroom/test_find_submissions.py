"""Every layout that a course system hands over is read, and nothing hostile in it is followed or unpacked."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.classroom import archive_entries as archives
from grader.classroom.archive_entries import SubmissionRefused, archive_entries
from grader.classroom.find_submissions import (
    FoundSubmission,
    Learner,
    common_folder_prefix,
    find_submissions,
    learner_slug,
)

FILE = "kv_attention.py"


def search(root: Path) -> dict[str, FoundSubmission]:
    return {found.learner.name: found for found in find_submissions(root, FILE, root / "out")}


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def zipped(files: dict[str, bytes] | list[tuple[str, bytes]], method: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return stream.getvalue()


LAYOUTS = {
    "flat files": {"anna.py": b"a", "ben.py": b"b", "README.md": b"-", "grades.csv": b"-"},
    "a folder each": {
        f"anna/{FILE}": b"a",
        "anna/notes.md": b"-",
        "anna/helper.py": b"-",
        f"ben/src/{FILE}": b"b",
        f"ben/.git/{FILE}": b"-",
        f"ben/__pycache__/{FILE}": b"-",
    },
    "Moodle, folders": {
        f"anna_41_assignsubmission_file_/{FILE}": b"a",
        "ben_42_assignsubmission_file_/task.py": b"b",
        "ben_42_assignsubmission_onlinetext_/onlinetext.html": b"-",
    },
    "Moodle, one folder": {
        f"anna_41_assignsubmission_file_{FILE}": b"a",
        "ben_42_assignsubmission_file_report.pdf": b"-",
        f"ben_42_assignsubmission_file_{FILE}": b"b",
    },
    "Canvas": {
        f"anna_12_345_{FILE}": b"a",
        "ben_LATE_13_346_kv_attention-1.py": b"b",
    },
    "Gradescope": {
        "assignment_9_export/submission_metadata.yml": b"-",
        f"assignment_9_export/anna/{FILE}": b"a",
        f"assignment_9_export/ben/{FILE}": b"b",
    },
    "an archive each": {
        "anna.zip": zipped({f"work/{FILE}": b"a", f"__MACOSX/work/._{FILE}": b"-"}),
        "ben/upload.zip": zipped({FILE: b"b"}, zipfile.ZIP_DEFLATED),
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrapped", [False, True], ids=["folder", "archive"])
def test_a_layout_is_understood(tmp_path: Path, layout: str, wrapped: bool) -> None:
    root = tmp_path / "in"
    if wrapped:
        root.mkdir()
        (root / "all.zip").write_bytes(zipped(LAYOUTS[layout]))
    else:
        write(root, LAYOUTS[layout])
    found = search(root)
    assert {name: (one.source, one.refusal) for name, one in found.items()} == {
        "anna": (b"a", None),
        "ben": (b"b", None),
    }
    if wrapped:
        assert search(root / "all.zip").keys() == {"anna", "ben"}


def test_a_challenge_may_ask_for_another_kind_of_file(tmp_path: Path) -> None:
    files = {"anna/broken_test.json": b"{}", "anna/notes.py": b"-", "ben.json": b"[]", "c.py": b"-"}
    found = find_submissions(write(tmp_path, files), "broken_test.json", tmp_path / "out")
    assert {item.learner.name: item.source for item in found} == {"anna": b"{}", "ben": b"[]"}


def test_github_classroom_names_lose_the_assignment(tmp_path: Path) -> None:
    names = ("anna", "anna-b", "ben")
    write(tmp_path, {f"kv-cache-{name}/{FILE}": name.encode() for name in names})
    assert {name: one.source.decode() for name, one in search(tmp_path).items()} == {
        name: name for name in names
    }
    assert common_folder_prefix(["anna-b", "anna-c"]) == ""
    assert common_folder_prefix(["a", "b", "c"]) == ""


def test_two_learners_of_one_name_are_two(tmp_path: Path) -> None:
    files = {f"Jo Doe_{n}_assignsubmission_file_/{FILE}": b"%d" % n for n in (7, 8)}
    found = list(find_submissions(write(tmp_path, files), FILE, tmp_path / "out"))
    assert [(one.learner, one.source) for one in found] == [
        (Learner("Jo Doe", "7"), b"7"),
        (Learner("Jo Doe", "8"), b"8"),
    ]


def stored(name: str, **change: int) -> bytes:
    """An archive with one member whose record says something special."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo(name)
        for attribute, value in change.items():
            setattr(info, attribute, value)
        archive.writestr(info, b"/etc/passwd")
    return stream.getvalue()


def patched(offset: int, value: int) -> bytes:
    """An archive with one byte changed in its local header, and the same field in the directory."""
    data = bytearray(zipped({FILE: b"x"}))
    data[offset] = value
    data[data.index(b"PK\x01\x02") + offset + 2] = value
    return bytes(data)


def twice() -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zipped([(FILE, b"x"), (FILE, b"y")])


BAD_ARCHIVES = {
    "traversal": (zipped({f"../../{FILE}": b"x"}), "leads out"),
    "absolute": (zipped({f"/tmp/{FILE}": b"x"}), "leads out"),
    "drive": (zipped({f"C:\\tmp\\{FILE}": b"x"}), "leads out"),
    "backslashes": (zipped({f"..\\{FILE}": b"x"}), "leads out"),
    "link": (stored(FILE, external_attr=0o120777 << 16), "link"),
    "encrypted": (patched(6, 1), "encrypted"),
    "not an archive": (b"PK\x03\x04 nothing", "damaged"),
    "empty": (b"", "damaged"),
    "cut off": (zipped({FILE: b"x" * 999})[:-30], "damaged"),
    "bomb": (zipped({"a.bin": b"\0" * (65 << 20), FILE: b"x"}, zipfile.ZIP_DEFLATED), "unpack"),
    "many members": (zipped({f"{n}.py": b"" for n in range(2001)}), "2001 files"),
    "archive in archive": (zipped({"deep.zip": zipped({FILE: b"x"})}), "one level"),
    "unknown method": (patched(8, 99), "damaged"),
    "name twice": (twice(), "more than once"),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_a_bad_archive_is_one_submission_refused(tmp_path: Path, kind: str) -> None:
    data, reason = BAD_ARCHIVES[kind]
    write(tmp_path, {"anna.zip": data, "ben.py": b"b", "carl.py": b"c"})
    found = search(tmp_path)
    assert found["ben"].source == b"b"
    assert found["anna"].refusal is not None, found["anna"]
    assert reason in found["anna"].refusal


def test_a_member_that_leads_out_of_a_course_archive_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(zipped({f"../anna/{FILE}": b"a", f"ben/{FILE}": b"b", f"carl/{FILE}": b"c"}))
    found = search(path)
    assert found["anna"].refusal is not None
    assert found["ben"].source == b"b"
    assert found["carl"].source == b"c"


def test_a_size_that_lies_unpacks_no_more_than_is_asked_for(tmp_path: Path) -> None:
    data = bytearray(zipped({FILE: b"\0" * (4 << 20)}, zipfile.ZIP_DEFLATED))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (10).to_bytes(4, "little")
    write(tmp_path, {"anna.zip": bytes(data), "ben.py": b"b"})
    assert search(tmp_path)["anna"].refusal is not None


def test_links_pipes_and_large_files_are_refused(tmp_path: Path) -> None:
    secret = write(tmp_path / "elsewhere", {FILE: b"secret"})
    root = write(tmp_path / "in", {"ben.py": b"b", "dora.py": b"#" * (300 << 10)})
    (root / "anna.py").symlink_to(secret / FILE)
    (root / "carl").symlink_to(secret)
    os.mkfifo(root / "emil.py")
    found = search(root)
    assert {name for name, one in found.items() if one.refusal} == {"anna", "carl", "dora", "emil"}
    assert all(not one.source for one in found.values() if one.refusal)


def test_an_ambiguous_submission_is_refused_with_the_choices(tmp_path: Path) -> None:
    files = {"anna/one.py": b"1", "anna/two.py": b"2", "ben/notes.txt": b"-", "carl/x.tar.gz": b"-"}
    found = search(write(tmp_path, files))
    assert "one.py, two.py" in str(found["anna"].refusal)
    assert FILE in str(found["ben"].refusal)
    assert "only zip archives" in str(found["carl"].refusal)


def test_learners_who_handed_in_nothing_are_listed(tmp_path: Path) -> None:
    write(tmp_path, {f"class/anna/{FILE}": b"a", f"class/ben/.git/{FILE}": b"-"})
    (tmp_path / "class" / "carl").mkdir()
    (tmp_path / "class" / "anna" / "notes").mkdir()
    found = search(tmp_path)
    assert found["anna"].source == b"a"
    assert [found[name].refusal for name in ("ben", "carl")] == [
        "'ben' is an empty folder",
        "'carl' is an empty folder",
    ]


def test_the_output_folder_is_not_searched(tmp_path: Path) -> None:
    write(tmp_path, {"anna.py": b"a", "ben.py": b"b", f"out/sources/{FILE}": b"-"})
    assert search(tmp_path).keys() == {"anna", "ben"}


@given(st.text(max_size=200), st.text(max_size=9))
def test_a_slug_is_a_plain_file_name(name: str, number: str) -> None:
    made = learner_slug(Learner(name, number))
    assert made
    assert made[0] not in "-._"
    assert len(made) <= 60
    assert made.isascii()
    assert not set(made) & set('/\\:*?"<>| ')


def test_a_slug_keeps_letters_without_their_accents() -> None:
    assert learner_slug(Learner("Jörg Ångström", "7")) == "Jorg-Angstrom-7"


GOOD = zipped({f"a/{FILE}": b"x = 1\n" * 50, "b.py": b"y"}, zipfile.ZIP_DEFLATED)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=12),
    st.integers(0, len(GOOD)),
)
def test_damaged_archives_never_end_a_batch(changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    with suppress(SubmissionRefused):
        for entry in archive_entries(bytes(data[: end or None])):
            assert len(entry.read(100)) <= 100


def test_an_archive_over_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grader.classroom.find_submissions.MAX_ARCHIVE", 10)
    write(tmp_path, {"anna.zip": zipped({FILE: b"x"}), "ben.py": b"b"})
    assert "larger than" in str(search(tmp_path)["anna"].refusal)
    assert archives.MAX_UNPACKED > archives.MAX_ARCHIVE


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["doe_12_344_kv_attention.py", "doe_12_345_kv_attention-1.py"], 1),
        (
            [
                "doe_12_344_kv_attention-9.py",
                "doe_12_345_kv_attention-10.py",
                "doe_LATE_12_3_kv_attention.py",
            ],
            1,
        ),
        (["doe/kv_attention.py", "doe/kv_attention (2).py", "doe/kv_attention (1).py"], 1),
        (
            [
                "HW 1_doe_attempt_2026-11-02-10-15-22_kv_attention.py",
                "HW 1_doe_attempt_2026-11-01-23-15-22_kv_attention.py",
                "HW 1_doe_attempt_2026-11-02-10-15-22.txt",
            ],
            0,
        ),
        (
            [
                f"12-77 - doe - Nov 28, 2026 1159 AM/{FILE}",
                f"12-77 - doe - Nov 28, 2026 1205 PM/{FILE}",
                f"12-77 - doe - Nov 9, 2026 1105 PM/{FILE}",
                "index.html",
            ],
            1,
        ),
        (
            [
                "12-77 - doe - 9 February 2026 23:59 - a.py",
                "12-77 - doe - 10 January 2026 08:00 - b.py",
            ],
            0,
        ),
        (["doe/kv_attention_late.py", "doe/kv_attention.py"], 0),
        (["doe/kv_attention_v2.py", "doe/kv_attention-v3.py", "doe/kv_attention.py"], 1),
        ([f"doe (1)/{FILE}", f"doe/{FILE}", f"doe (2)/{FILE}"], 2),
        ([f"doe_LATE/{FILE}", f"doe/{FILE}"], 0),
        (["doe_12_344_kv_attention.ipynb", "doe_late_12_345_kv_attention-1.ipynb"], 1),
    ],
    ids=[
        *("Canvas", "Canvas, ten", "browser", "Blackboard", "Brightspace", "Brightspace, files"),
        *("late", "version", "folders of one", "late folder", "notebooks"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["folder", "archive"])
def test_the_newest_attempt_counts_and_that_is_said(
    tmp_path: Path, names: list[str], newest: int, wrapped: bool
) -> None:
    files = {name: name.encode() for name in names} | {f"other/{FILE}": b"-"}
    root = tmp_path / "in"
    if wrapped:
        root.mkdir()
        (root / "all.zip").write_bytes(zipped(files))
    else:
        write(root, files)
    found = search(root)
    assert found.keys() == {"doe", "other"}
    assert found["doe"].source == names[newest].encode()
    assert "newest attempt counts" in found["doe"].note
    assert found["other"].note == ""


def test_two_files_of_one_number_are_not_told_apart(tmp_path: Path) -> None:
    files = {"doe/kv_attention-1.py": b"a", "doe/kv_attention (1).py": b"b", "x/a.py": b"-"}
    assert "not clear" in str(search(write(tmp_path, files))["doe"].refusal)


def test_an_empty_folder_of_an_archive_is_listed_as_in_a_folder(tmp_path: Path) -> None:
    first, second, third = (f"{n}_4{i}_assignsubmission_file_/" for i, n in enumerate("abc"))
    files = [(f"{first}{FILE}", b"a"), (second, b""), (third, b""), (f"{third}.keep", b"")]
    (tmp_path / "all.zip").write_bytes(zipped(files))
    folder = tmp_path / "in"
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        archive.extractall(folder)
    for root in (folder, tmp_path / "all.zip"):
        found = search(root)
        assert found.keys() == {"a", "b", "c"}, root
        assert "is an empty folder" in str(found["b"].refusal)
        assert "is an empty folder" in str(found["c"].refusal)


@pytest.mark.parametrize("name", ["results", "out 2", "old"])
def test_an_earlier_batch_in_the_class_folder_is_no_learner(tmp_path: Path, name: str) -> None:
    write(tmp_path, {f"anna/{FILE}": b"a", f"{name}/sources/anna.py": b"a"})
    write(tmp_path, {f"{name}/batch.json": b'{"schema": "kvdojo/batch/v1"}'})
    write(tmp_path, {f"{name}/journal.jsonl": b"", f"{name}/results/anna.json": b"{}"})
    assert search(tmp_path).keys() == {"anna"}
    (tmp_path / name / "batch.json").write_bytes(b"{}")  # a learner's folder that looks alike
    assert search(tmp_path).keys() == {"anna", name}


def test_learners_whose_names_hold_a_line_are_not_taken_for_one(tmp_path: Path) -> None:
    when = "attempt_2026-11-02-10-15-22"
    names = [f"HW_1_{who}_{when}_{FILE}" for who in ("jane_doe", "john_doe", "john")]
    found = search(write(tmp_path, {name: name.encode() for name in names}))
    assert found.keys() == {"jane_doe", "john_doe", "john"}


def test_a_notebook_counts_where_there_is_no_python_file(tmp_path: Path) -> None:
    files = {
        "anna/kv_attention.ipynb": b"a",
        "anna/.ipynb_checkpoints/kv_attention-checkpoint.ipynb": b"-",
        "anna/helper.py": b"-",
        "ben/mine.ipynb": b"b",
        "carl/kv_attention.ipynb": b"-",
        f"carl/{FILE}": b"c",
        "dora/one.ipynb": b"-",
        "dora/two.ipynb": b"-",
        "emil/kv_attention.py.txt": b"-",
        "fred.ipynb": b"f",
        "gina/big.ipynb": b"#" * (1 << 20),
        "hugo/big.ipynb": b"#" * (9 << 20),
    }
    found = search(write(tmp_path, files))
    taken = {name: one.source[:1] for name, one in found.items() if one.refusal is None}
    assert taken == {"anna": b"a", "ben": b"b", "carl": b"c", "fred": b"f", "gina": b"#"}
    assert found["anna"].file == "kv_attention.ipynb"
    assert found["carl"].note == f"{FILE!r} counts; not the notebook 'kv_attention.ipynb'"
    assert found["anna"].note == found["ben"].note == ""
    assert "which of 2 notebook files counts" in str(found["dora"].refusal)
    assert "not 'kv_attention.py.txt'" in str(found["emil"].refusal)
    assert "larger than 8192 KiB" in str(found["hugo"].refusal)


def test_a_challenge_that_asks_for_json_takes_no_notebook(tmp_path: Path) -> None:
    found = find_submissions(write(tmp_path, {"anna/a.ipynb": b"{}"}), "t.json", tmp_path / "out")
    assert [one.refusal for one in found] == [
        "there is no JSON file; t.json was expected, not 'a.ipynb'"
    ]
