"""`kvdojo arena` from the command line: exit codes, documents, one line for each mistake."""

from __future__ import annotations

import json

import pytest
from arena_draws import KEY, NAME

from grader.cli.main import main


@pytest.fixture
def kvdojo(monkeypatch, capsys, tmp_path, called_by_its_name):
    """Run a command; return its exit code, standard output and standard error."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def task(drawn):
    return drawn / "public" / f"{NAME}-0000"


def test_tasks_are_drawn_run_and_reported(kvdojo, tmp_path) -> None:
    key = tmp_path / "key"
    key.write_bytes(KEY)
    words = ("arena", "draw", NAME, "--key", key, "--count", 1, "--bugs", 2)
    code, out, _ = kvdojo(*words, "--out", "drawn", "--json")
    assert code == 0
    manifest = json.loads(out)
    assert manifest == json.loads((tmp_path / "drawn" / "manifest.json").read_text())
    assert list(manifest["sealed"]) == [f"{NAME}-0000"]

    words = ("arena", "run", "drawn", "--agent")
    code, out, _ = kvdojo(*words, "everything", "--out", "runs/everything.json")
    assert code == 0
    assert "solved            1.000" in out
    assert kvdojo(*words, "nothing", "--out", "runs/nothing.json", "--json")[0] == 0

    runs = [f"runs/{name}.json" for name in ("everything", "nothing")]
    code, out, _ = kvdojo("arena", "report", *runs, "--out", "page.html")
    assert code == 0
    page = (tmp_path / "page.html").read_text()
    assert "everything" in page
    assert "1.00" in page
    assert kvdojo("arena", "report", *runs, "--out", "again.html")[0] == 0
    assert (tmp_path / "again.html").read_text() == page


def test_an_agent_of_one_s_own_is_found_in_the_current_folder(kvdojo, task, tmp_path) -> None:
    (tmp_path / "own_agent.py").write_text(
        "import sys\n\ndef solve(desk):\n    desk.read()\n    desk.suspect(1)\n    sys.exit(3)\n"
    )
    code, out, err = kvdojo("arena", "run", task, "--agent", "own_agent:solve", "--json")
    assert code == 0
    assert "the agent ended in SystemExit: 3" in err
    (marks,) = json.loads(out)["marks"]
    assert (marks["looks"], marks["suspicions"]["named"], marks["recall"]) == (1, 1, 0.0)


def test_a_file_is_marked(kvdojo, task, tasks, scorer, tmp_path) -> None:
    mended = tmp_path / "mended.py"
    mended.write_text(scorer.known(tasks[0].sealed).file.mended)
    first, last = tasks[0].sealed.bugs[0].lines[0]
    words = ("arena", "score", task)
    code, out, _ = kvdojo(*words, mended, "--json", "--suspect", f"{first}-{last}")
    marks = json.loads(out)
    assert code == 0
    assert (marks["solved"], marks["recall"], marks["precision"]) == (True, 1.0, 1.0)
    assert marks["localisation"] == 1 / len(tasks[0].sealed.bugs)
    code, out, _ = kvdojo(*words, task)
    assert code == 1
    assert "bugs fixed        0 of 3" in out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("draw", NAME, "--key", "none", "--out", "o"), 2, "head -c 32 /dev/urandom"),
        (("draw", "no_such", "--key", "key", "--out", "o"), 2, "no_such"),
        (("draw", "--key", "key", "--out", "o"), 2, "Missing argument"),
        (("draw", NAME, "--key", "key", "--out", "key"), 2, "exists already"),
        (("draw", NAME, "--key", "key", "--out", "o", "--bugs", "4-2"), 2, "--bugs takes"),
        (("draw", NAME, "--key", "key", "--out", "o", "--bugs", "x"), 2, "--bugs takes"),
        (("draw", NAME, "--key", "key", "--out", "o", "--count", "0"), 2, "--count"),
        (("draw", NAME, "--key", "key", "--out", "o", "--generated", "2"), 2, "--generated"),
        (("draw", "broken_test", "--key", "key", "--out", "o"), 2, "--plain"),
        (("score", "none", "key"), 2, "is no task"),
        (("score", "key", "key"), 2, "is no task"),
        (("run", "none", "--agent", "nothing"), 2, "is no task"),
        (("run", "x" * 300, "--agent", "nothing"), 2, "is no task"),
        (("score", "x" * 300, "key"), 2, "is no task"),
        (("report", "x" * 300), 2, "does not exist"),
        (("draw", NAME, "--key", "x" * 300, "--out", "o"), 2, "cannot be read"),
        (("draw", NAME, "--key", "key", "--out", "key/o"), 2, "cannot be"),
        (("draw", NAME, "--key", "key", "--out", "x" * 300), 2, "cannot be written"),
        (("run", "none", "--agent", "nothing", "--out", "key/o"), 2, "key/o cannot be written"),
        (("run", "none", "--agent", "nothing", "--out", "."), 2, ". cannot be written"),
        (("run", "none", "--agent", "no-such"), 2, "There is: everything"),
        (("run", "none", "--agent", "no_such_module:f"), 2, "cannot be imported"),
        (("run", "none", "--agent", "os:sep"), 2, "is no function"),
        (("report", "none.json"), 2, "does not exist"),
        (("report", "key"), 3, "key"),
        (("report", *["key"] * 9), 2, "at most 8"),
        (("datasheet", "no_such"), 2, "no_such"),
    ],
)
def test_a_mistake_is_one_line_and_the_right_exit_code(kvdojo, tmp_path, words, code, says) -> None:
    (tmp_path / "key").write_bytes(KEY)
    got, out, err = kvdojo("arena", *words)
    assert (got, out) == (code, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1, err


def test_a_hostile_file_or_place_is_refused(kvdojo, task, tmp_path) -> None:
    (tmp_path / "huge.py").write_bytes(b"#" * (1 << 20))
    (tmp_path / "small.py").write_text("x = 1\n")
    for words, says in (
        (("none.py",), "does not exist"),
        (("huge.py",), "larger than 256 KiB"),
        (("small.py", "--suspect", "0"), "--suspect takes"),
        (("small.py", "--suspect", "1-90"), "--suspect takes"),
        (("small.py", "--suspect", "x"), "--suspect takes"),
        (("small.py", *["--suspect", "1"] * 21), "20 times"),
        (("small.py", "--sealed", "none"), "cannot be read"),
    ):
        code, _, err = kvdojo("arena", "score", task, *words)
        assert code == 2
        assert says in err
        assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": "kvdojo/result/v1"}', "[" * 90_000, '{"agent": 1}', "\0"]
)
def test_a_run_that_is_none_is_refused(kvdojo, tmp_path, text) -> None:
    (tmp_path / "run.json").write_text(text)
    code, _, err = kvdojo("arena", "report", "run.json")
    assert code in (2, 3)
    assert len(err.strip().splitlines()) == 1


def test_the_datasheet_counts_what_is_recorded(kvdojo) -> None:
    code, out, _ = kvdojo("arena", "datasheet", "--json")
    assert code == 0
    sheet = json.loads(out)
    total = sheet["total"]
    assert total["kept"] == sum(entry["kept"] for entry in sheet["challenges"]) > 100
    assert sum(total["levels"].values()) == total["kept"]
    for entry in sheet["challenges"]:
        assert entry["proposed"] == entry["kept"] + sum(entry["dropped"].values())
    code, out, _ = kvdojo("arena", "datasheet", NAME)
    assert code == 0
    assert f"| {NAME} |" in out
