"""`case new`, `case lint` and `case add`: what is added, what is refused, and that nothing is half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import grader.judge
from grader.author.recording import record, reload
from grader.cli.main import main
from grader.content import Catalogue, Challenge
from grader.content.witnesses import read_witnesses, witnesses_bytes
from grader.ground.limits import MAX_CASE_FILE_BYTES
from grader.judge.golden import load_golden, save_golden
from grader.sandbox import Sandbox

Make = Callable[..., Challenge]
WRITTEN = (
    "cases.json",
    "recorded/golden.safetensors",
    "recorded/witnesses.json",
    "recorded/cases.schema.json",
    "recorded/starter/tiny.py",
)


@pytest.fixture
def run(
    tmp_path: Path, tiny_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run a command in this process on the tiny challenge and in the warm sandbox."""
    monkeypatch.setattr(grader.judge, "start_sandbox", lambda *_: nullcontext(tiny_sandbox))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["case", *map(str, words)], Catalogue(tmp_path))


def files(challenge: Challenge) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in challenge.folder.rglob("*") if path.is_file()}


def case(**changes: Any) -> dict[str, Any]:
    made = {
        "id": "sums-three",
        "title": "Three sums",
        "why": "A sum that is kept for one step only.",
        "kind": "scenario",
        "setup": {"d": 3},
        "seed": 77,
        "dtype": "float32",
        "steps": [{"do": "add", "tokens": 2}] * 3,
    }
    return made | changes


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_an_added_case_is_what_recording_makes(
    make: Make, run: Callable[..., int], tiny_sandbox: Sandbox, tmp_path: Path, capsys: Any
) -> None:
    challenge = make()
    before, known = files(challenge), challenge.case_entries

    assert run("add", "tiny", write(tmp_path / "mine.json", case())) == 0

    said = capsys.readouterr().out
    assert "kills      2 of 2 bugs" in said
    assert "redundant  twice: case catches nothing that this one does not" in said
    added = [(challenge.folder / name).read_bytes() for name in WRITTEN]
    assert reload(challenge).case_entries == [*known, case()]
    assert json.loads(added[0])["cases"][:-1] == json.loads(before["cases.json"])["cases"]
    record(tiny_sandbox, reload(challenge))
    assert [(challenge.folder / name).read_bytes() for name in WRITTEN] == added
    assert reload(challenge).bugs["forgets"].witnesses == ("unit-add", "twice", "sums-three")


def test_a_bug_not_recorded_yet_is_measured_on_all_cases(
    make: Make, run: Callable[..., int], tiny_sandbox: Sandbox, tmp_path: Path, capsys: Any
) -> None:
    challenge = make()
    known = read_witnesses(challenge.witnesses)
    challenge.witnesses.write_bytes(
        witnesses_bytes(known.made_from, {**known.cases, "triples": ()})
    )

    assert run("add", "tiny", write(tmp_path / "mine.json", case())) == 0

    assert "no other case does" not in capsys.readouterr().out
    added = [(challenge.folder / name).read_bytes() for name in WRITTEN]
    record(tiny_sandbox, reload(challenge))
    assert [(challenge.folder / name).read_bytes() for name in WRITTEN] == added


@pytest.mark.parametrize(
    ("recorded_with", "code"),
    [
        ({"torch": "{release}+cpu", "python": "3.11.7"}, 0),
        ({"torch": "{release}+cu130", "python": "3.14.1"}, 0),
        ({"torch": "{release}"}, 0),
        ({"torch": "2.9.1+cpu", "python": "{python}"}, 3),
        ({"torch": "{release}.post1", "python": "{python}"}, 3),
    ],
)
def test_another_build_of_the_same_release_can_add_and_another_release_cannot(
    make: Make,
    run: Callable[..., int],
    tiny_sandbox: Sandbox,
    tmp_path: Path,
    capsys: Any,
    recorded_with: dict[str, str],
    code: int,
) -> None:
    challenge = make()
    told = {
        "release": str(tiny_sandbox.versions["torch"]).partition("+")[0],
        "python": str(tiny_sandbox.versions["python"]),
    }
    versions = {name: text.format(**told) for name, text in recorded_with.items()}
    golden = replace(load_golden(challenge), versions=versions)
    challenge.golden.write_bytes(save_golden(challenge.golden, golden))
    before = files(challenge)

    assert run("add", "tiny", write(tmp_path / "mine.json", case())) == code

    said = capsys.readouterr().err
    if code:
        assert f"was recorded with torch {versions['torch']}" in said
        assert said.count("\n") == 1
        assert files(challenge) == before


def test_only_what_it_alone_kills_is_said_so(
    make: Make, run: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    def spoil(found: dict[str, Any]) -> None:
        found["cases.json"]["cases"] = found["cases.json"]["cases"][:1]

    make(spoil)
    run("add", "tiny", write(tmp_path / "mine.json", case()), "--json")

    document = json.loads(capsys.readouterr().out)
    assert document["kills"] == ["forgets", "triples"]
    assert document["only_this_case_kills"] == ["forgets"]
    assert document["first_of_its_kind_to_kill"] == ["triples"]
    assert document["trivial_answers"] == {"refused": ["query"], "accepted": []}
    assert document["added"] is True
    assert document["margin"]["tolerances"] > 10


ECHO = """@verb("gap")
def echo(file, x):
    one = file.keep.sum.add(x)
    return file.keep.sum.add(x * 0) - one
"""
OPTIONS = """@made("y", "options")
def with_options(case, tokens: whole(1, 64, "Rows.")):
    return case.draw(tokens, case.d), {"empty": {}, "full": {"by": {}, "a": 1}}


@verb("scaled")
def scaled_by(file, y, options):
    assert options == {"empty": {}, "full": {"by": {}, "a": 1}}, options
    return file.scale(y)
"""
TOSS = """@verb("total")
def toss(file, x):
    import torch

    chance = torch.Generator().manual_seed(torch.Generator().seed())
    return file.keep.sum.add(x) + torch.rand(x.shape, generator=chance).to(x.dtype)
"""


def with_verb(driver: str, verb: str) -> str:
    """Return the driver with one more verb in it."""
    last = "\n\nPlan, Verbs = "
    return driver.replace(last, f"\n\n{verb}{last}")


def with_echo(found: dict[str, Any]) -> None:
    """A verb that answers how a difference with itself comes out: zeros, and seven when a sum is forgotten."""
    found["driver.py"] = with_verb(found["driver.py"], ECHO)


@pytest.mark.parametrize(
    ("spoil", "entry", "says"),
    [
        (
            lambda found: found["bugs.json"]["bugs"].pop(1),
            case(steps=[{"do": "add", "tokens": 1}]),
            "catches no planted bug",
        ),
        (with_echo, case(steps=[{"do": "echo", "tokens": 2}]), "passes for zeros"),
    ],
    ids=["kills nothing", "passes for zeros"],
)
def test_a_weak_case_is_refused_and_can_be_forced(
    spoil: Any,
    entry: Any,
    says: str,
    make: Make,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: Any,
) -> None:
    challenge = make(spoil)
    before = files(challenge)
    path = write(tmp_path / "mine.json", entry)

    assert run("add", "tiny", path) == 3
    assert says in capsys.readouterr().err
    assert files(challenge) == before

    assert run("add", "tiny", path, "--force", "--because", "It shows how a sum begins.") == 0
    assert reload(challenge).cases["sums-three"].keep_because == "It shows how a sum begins."


BROKEN = {
    "not JSON": ("{", "broken JSON at line 1"),
    "NaN": ('{"id": NaN}', "NaN is not a JSON number"),
    "twice the same key": ('{"id": "a", "id": "b"}', "stands twice"),
    "no object": ("[3]", "is not of type 'object'"),
    "two cases": ({"cases": [case(), case(id="b")]}, "one at a time"),
    "a number that JSON cannot hold": (
        json.dumps(case()).replace("77", "1e999"),
        "inf is not of type 'integer'",
    ),
    "a word beside cases": ({"cases": [], "case": 1}, "only `$schema`"),
    "half a character": (case(title="\ud800"), "half of a character"),
    "unknown verb": (
        case(steps=[{"do": "ad", "tokens": 2}]),
        "$.steps[0].do: 'ad' is not one of ['add', 'scale']. Did you mean 'add'?",
    ),
    "unknown parameter": (
        case(steps=[{"do": "add", "tokens": 2, "token": 2}]),
        "Did you mean 'tokens'?",
    ),
    "size out of bounds": (
        case(steps=[{"do": "add", "tokens": 10**9}]),
        "$.steps[0].tokens: 1000000000 is greater",
    ),
    "too dear": (case(setup={"d": 10**9}), "numbers or more"),
    "nonsense setup": (case(setup={}), "'d' is a required property"),
    "taken id": (case(id="twice"), "$.id: 'twice' is taken"),
    "id with a slash": (case(id="../twice"), "does not match"),
    "id with a newline": (case(id="twice\n"), ".id: holds a control character"),
    "no such exception": (
        case(steps=[{"do": "add", "tokens": 2, "raises": "ValueEror"}]),
        "Did you mean 'ValueError'?",
    ),
    "nothing saved": (
        case(steps=[{"do": "add", "tokens": 2, "live": "a"}]),
        "no step before saves 'a'",
    ),
    "wrong expectation": (
        case(steps=[{"do": "add", "tokens": 1, "expect": {"total": [[0, 0, 0]]}}]),
        "`expect` states another",
    ),
    "raises nothing": (
        case(steps=[{"do": "add", "tokens": 1, "raises": "ValueError"}]),
        "the reference raised nothing",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_and_nothing_changes(
    name: str, make: Make, run: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    content, says = BROKEN[name]
    challenge = make()
    before = files(challenge)

    assert run("add", "tiny", write(tmp_path / "mine.json", content)) == 3

    said = capsys.readouterr()
    assert says in said.err
    assert "Traceback" not in said.err
    assert files(challenge) == before


def test_all_faults_are_told_in_order(
    make: Make, run: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    make()
    steps = [{"do": "add", "tokens": 0} for _ in range(11)]
    path = write(tmp_path / "mine.json", case(kind="units", steps=steps, colour="red"))

    assert run("lint", "tiny", path) == 3

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 13
    assert [line.split(": ")[-2][:10] for line in lines[2:4]] == ["$.steps[0]", "$.steps[1]"]
    assert "$.kind: 'units' is not one of ['unit', 'scenario']. Did you mean 'unit'?" in lines[1]
    assert "$.steps[10]" in lines[-1]


def test_missing_and_unreadable_case_files_are_refused(
    make: Make, run: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    make()
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path / "huge.json", " " * (MAX_CASE_FILE_BYTES + 1))

    assert run("add", "tiny", tmp_path / "none.json") == 2
    assert run("add", "tiny", tmp_path) == 2
    assert run("add", "tiny", tmp_path / "pipe") == 3
    assert run("add", "tiny", tmp_path / "huge.json") == 3
    assert run("add", "../tiny", tmp_path / "huge.json") == 2
    assert run("add", "tiny", tmp_path / "huge.json", "--force") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert "not an ordinary file" in lines[2]


def test_a_helper_verb_is_one_line_and_one_place(
    make: Make, run: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    """Nothing else of the challenge speaks of it: schema, inputs, call, names and helpers follow."""

    def spoil(found: dict[str, Any]) -> None:
        line = 'doubled = helper("scale", "scaled", x=rows)\n'
        found["driver.py"] = with_verb(found["driver.py"], line).replace("made, ", "helper, made, ")

    make(spoil)
    path = write(tmp_path / "mine.json", case(kind="unit", steps=[{"do": "doubled", "tokens": 3}]))

    assert run("lint", "tiny", path) == 0
    capsys.readouterr()
    assert run("add", "tiny", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["kills"] == ["triples"]
    too_many = case(kind="unit", steps=[{"do": "doubled", "tokens": 65}])
    assert run("lint", "tiny", write(tmp_path / "other.json", too_many)) == 3
    assert "65 is greater than the maximum of 64" in capsys.readouterr().err


def test_an_empty_dictionary_reaches_the_verb(
    make: Make, run: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    def spoil(found: dict[str, Any]) -> None:
        found["driver.py"] = with_verb(found["driver.py"], OPTIONS)

    make(spoil)
    path = write(
        tmp_path / "mine.json", case(kind="unit", steps=[{"do": "scaled_by", "tokens": 2}])
    )
    assert run("add", "tiny", path) == 0, capsys.readouterr().err


def test_a_case_that_is_not_reproducible_is_refused(
    make: Make, run: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    def spoil(found: dict[str, Any]) -> None:
        found["driver.py"] = with_verb(found["driver.py"], TOSS)

    make(spoil)
    path = write(tmp_path / "mine.json", case(steps=[{"do": "toss", "tokens": 2}]))

    assert run("add", "tiny", path) == 3
    assert "answers differently when it is asked again" in capsys.readouterr().err


def test_a_new_case_is_valid_and_leads_to_its_schema(
    make: Make, run: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    challenge = make()

    assert run("new", "tiny", "deep/mine.json") == 0
    assert run("new", "tiny", "deep/mine.json") == 2
    assert run("lint", "tiny", "deep/mine.json") == 0
    assert run("lint", "tiny") == 0

    document = json.loads(Path("deep/mine.json").read_text())
    schema = (tmp_path / "deep" / document["$schema"]).resolve()
    assert schema == challenge.cases_schema
    assert "3 cases, nothing wrong" in capsys.readouterr().out


@pytest.mark.parametrize("left", [("title", "why"), ("title",), ("why",)])
def test_the_untouched_template_is_refused(
    left: tuple[str, ...], make: Make, run: Callable[..., int], capsys: Any
) -> None:
    challenge = make()
    before = files(challenge)
    assert run("new", "tiny", "mine.json") == 0
    document = json.loads(Path("mine.json").read_text())
    document["cases"][0] |= dict.fromkeys({"title", "why"} - set(left), "Mine")
    Path("mine.json").write_text(json.dumps(document))

    assert run("add", "tiny", "mine.json") == 3

    said = capsys.readouterr().err
    assert said.startswith("kvdojo: mine.json: " + " and ".join(f"`{name}`" for name in left))
    assert files(challenge) == before


def test_the_recipe_of_another_case_is_refused(
    make: Make, run: Callable[..., int], capsys: Any
) -> None:
    challenge = make()
    assert run("new", "tiny", "mine.json") == 0
    document = json.loads(Path("mine.json").read_text())
    document["cases"][0] |= {"title": "Mine", "why": "Mine"}
    Path("mine.json").write_text(json.dumps(document))

    assert run("add", "tiny", "mine.json") == 3
    assert "'my-case' has the sizes and steps of 'twice'" in capsys.readouterr().err
    assert "my-case" not in reload(challenge).cases


def test_a_dry_run_writes_nothing(make: Make, run: Callable[..., int], tmp_path: Path) -> None:
    challenge = make()
    before = files(challenge)
    assert run("add", "tiny", write(tmp_path / "mine.json", case()), "--dry-run") == 0
    assert files(challenge) == before
