"""`kvdojo grade` around the judge: which file, which exit code, what is printed. The judge is a double."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import grader.judge
from grader.judge.result import BugStatus, CaseResult, Cause, Result


@pytest.fixture
def judge(monkeypatch):
    """Replace the judge: it records its calls and answers with `judge.verdict`."""

    class Judge:
        verdict = "failed"

        def __init__(self):
            self.calls = []

        def __call__(self, challenge, source, **options):
            self.calls.append((source, options))
            print("noise of the judge", file=sys.stderr)
            cause = None if self.verdict == "passed" else Cause("wrong_value", "It differs.")
            case = CaseResult("scale-unit", "Scale", self.verdict, 0, 1, 0.1, cause)
            bugs = (
                BugStatus("no-scale", "The title of no-scale", "fixed"),
                BugStatus("shift-two", "The title of shift-two", "present"),
                BugStatus("strict-mask", "The title of strict-mask", "fixed"),
            )
            environment = {
                "python": "3",
                "torch": None,
                "triton": None,
                "device": "cpu",
                "isolation": [],
            }
            name = options["filename"]
            return Result(
                challenge.id, name, "0" * 64, self.verdict, 0, 1, 0.2, (case,), bugs, environment
            )

    double = Judge()
    monkeypatch.setattr(grader.judge, "grade_source", double)
    return double


@pytest.mark.parametrize(("verdict", "code"), [("passed", 0), ("failed", 1), ("error", 4)])
def test_the_verdict_is_the_exit_code(dojo, judge, capsys, verdict, code):
    dojo.run("start", "small_sums")
    judge.verdict = verdict
    assert dojo.run("grade", "small_sums") == code
    assert dojo.run("grade", "small_sums", "--json") == code


def test_json_is_the_only_thing_on_stdout(dojo, judge, capsys):
    dojo.run("start", "small_sums")
    capsys.readouterr()
    assert dojo.run("grade", "small_sums", "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "kvdojo/result/v1"


def test_present_bugs_are_counted_and_not_named(dojo, judge, capsys):
    dojo.run("start", "small_sums")
    capsys.readouterr()
    dojo.run("grade", "small_sums")
    said = capsys.readouterr().out
    assert "1 of 2 fixed" in said
    assert "The title of no-scale" in said
    assert "shift-two" not in said
    assert "strict-mask" not in said


def test_options_reach_the_judge(dojo, judge):
    dojo.run("start", "small_sums")
    dojo.run("grade", "small_sums", "--case", "mask-unit", "--no-isolation")
    source, options = judge.calls[0]
    assert source == dojo.file.read_bytes()
    assert options["cases"] == ["mask-unit"]
    assert options["isolate"] is False
    assert options["filename"] == "sums.py"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"def broken(:\n"])
def test_a_bad_submission_is_still_graded(dojo, judge, tmp_path, content):
    (tmp_path / "mine.py").write_bytes(content)
    assert dojo.run("grade", "small_sums", tmp_path / "mine.py") == 1
    assert judge.calls[0][0] == content


def test_a_folder_means_the_file_in_it(dojo, judge, tmp_path, capsys):
    assert dojo.run("grade", "small_sums", tmp_path) == 2
    assert "sums.py" in capsys.readouterr().err
    (tmp_path / "sums.py").write_text("x = 1\n")
    assert dojo.run("grade", "small_sums", tmp_path) == 1


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _large(path: Path) -> None:
    path.write_bytes(b"#" * (256 * 1024 + 1))


def _looping(path: Path) -> None:
    path.symlink_to(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_fifo, _large, _looping, _device, lambda path: None])
def test_what_is_no_file_is_one_line(dojo, judge, tmp_path, capsys, make):
    make(tmp_path / "mine.py")
    assert dojo.run("grade", "small_sums", tmp_path / "mine.py") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert judge.calls == []


def test_not_started_says_how_to_start(dojo, judge, capsys):
    assert dojo.run("grade", "small_sums") == 2
    assert "kvdojo start small_sums" in capsys.readouterr().err


def test_a_named_file_survives_a_damaged_state(dojo, judge):
    dojo.run("start", "small_sums")
    (dojo.file.parent / ".kvdojo.json").write_text("{")
    assert dojo.run("grade", "small_sums") == 2
    assert dojo.run("grade", "small_sums", dojo.file) == 1


def test_a_failing_grader_is_exit_4_and_one_line(dojo, monkeypatch, capsys):
    def broken(*args, **options):
        raise grader.judge.GraderError("the sandbox does not start")

    monkeypatch.setattr(grader.judge, "grade_source", broken)
    dojo.run("start", "small_sums")
    capsys.readouterr()
    assert dojo.run("grade", "small_sums", "--json") == 4
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["kind"] == "grader"
    assert captured.err == "kvdojo: the sandbox does not start\n"


def test_what_is_no_file_to_grade_is_one_document(dojo, judge, capsys, tmp_path):
    (tmp_path / "big.py").write_bytes(b"#" * (300 << 10))
    (tmp_path / "big.ipynb").write_bytes(b" " * (9 << 20))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "link.py").symlink_to(tmp_path / "nowhere")
    names = ("big.py", "big.ipynb", "folder", "pipe.py", "link.py", "missing.py", "/dev/zero")
    for name in names:
        assert dojo.run("grade", "small_sums", str(tmp_path / name), "--json") == 2
        document = json.loads(capsys.readouterr().out)
        assert (document["schema"], document["verdict"]) == ("kvdojo/error/v1", "error")
        assert name.rpartition("/")[2] in document["error"]["message"]
    assert judge.calls == []


def test_of_some_cases_it_is_said_how_many_were_run(dojo, judge, capsys):
    dojo.run("start", "small_sums")
    capsys.readouterr()
    judge.verdict = "passed"
    dojo.run("grade", "small_sums", "--case", "scale-unit")
    said = capsys.readouterr().out
    assert "cases was run, and it passes." in said
    assert "1 of 2 fixed" not in said
    assert "All cases pass" not in said


def test_a_folder_may_hold_a_notebook_instead(dojo, judge, tmp_path):
    (tmp_path / "sums.ipynb").write_text("{}")
    dojo.run("grade", "small_sums", str(tmp_path))
    assert judge.calls[0][1]["filename"] == "sums.ipynb"
    (tmp_path / "sums.py").write_text("x = 1")
    dojo.run("grade", "small_sums", str(tmp_path))
    assert judge.calls[1][1]["filename"] == "sums.py"
