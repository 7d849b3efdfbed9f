"""`bug add`: what an edited copy of the reference breaks becomes an entry, or is refused with a reason."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import grader.judge
from grader.author.gate import check_challenge
from grader.author.recording import record, reload
from grader.cli import bug_questions
from grader.cli.main import main
from grader.content import Catalogue, Challenge
from grader.ground.limits import MAX_SOURCE_BYTES
from grader.sandbox import Sandbox

Make = Callable[..., Challenge]
Run = Callable[..., int]
WORDS = {
    "--id": "one-more",
    "--title": "One too many is added",
    "--family": "sums",
    "--difficulty": "2",
    "--symptom": "Totals grow too fast.",
    "--explanation": "Nothing is added but the input.",
    "--hint": ("Look at the sum.", "What is added?", "Only what scale returns."),
    "--source": "A textbook <https://example.org/sums>",
}
CAUGHT = ("doubled = scale(x)\n", "doubled = scale(x) + 1\n")
HARMLESS = ("doubled = scale(x)\n", "doubled = scale(x) + 0\n")
UNSEEN = ("self.total = 0\n", "self.total = 0.0\n")


@pytest.fixture
def run(tmp_path: Path, tiny_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `bug add tiny` in this process and in the warm sandbox."""

    class Lent(nullcontext[Sandbox]):
        """Stays open for the next command."""

    monkeypatch.setattr(grader.judge, "start_sandbox", lambda *_, **__: Lent(tiny_sandbox))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["bug", "add", "tiny", *map(str, words)], Catalogue(tmp_path))


def files(challenge: Challenge) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in challenge.folder.rglob("*") if path.is_file()}


def edited(challenge: Challenge, *changes: tuple[str, str]) -> Path:
    text = challenge.reference_text
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = challenge.root / "mine.py"
    path.write_text(text)
    return path


def words(**changes: Any) -> list[str]:
    """Command-line options of a whole entry; None leaves one out."""
    given = {**WORDS, **{f"--{key}": value for key, value in changes.items()}}
    parts: list[str] = []
    for option, value in given.items():
        for text in (value,) if isinstance(value, str) else value or ():
            parts += [option, text]
    return parts


def test_an_added_bug_is_what_recording_makes(
    make: Make, run: Run, tiny_sandbox: Sandbox, capsys: Any
) -> None:
    challenge = make()

    assert run(edited(challenge, CAUGHT), *words()) == 0

    said = capsys.readouterr().out
    assert "changes    line 17, in Sum.add" in said
    assert "unit       unit-add" in said
    assert "scenarios  twice" in said
    assert "each of 2 other bugs" in said
    now = reload(challenge)
    assert now.bugs["one-more"].witnesses == ("unit-add", "twice")
    assert now.bugs["one-more"].sources == (
        {"title": "A textbook", "url": "https://example.org/sums"},
    )
    added = files(now)
    record(tiny_sandbox, now)
    assert files(now) == added
    assert check_challenge(now, sets=5, sandbox=tiny_sandbox).violations == []


def test_a_decoy_is_what_every_case_accepts(
    make: Make, run: Run, tiny_sandbox: Sandbox, capsys: Any
) -> None:
    challenge = make()

    assert run(edited(challenge, HARMLESS), "--decoy", *words(id="decoy-zero")) == 0

    assert "accepted   by every case" in capsys.readouterr().out
    now = reload(challenge)
    assert now.bugs["decoy-zero"].kind == "decoy"
    added = files(now)
    record(tiny_sandbox, now)
    assert files(now) == added
    assert check_challenge(now, sets=5, sandbox=tiny_sandbox).violations == []


def without_unit_case(found: dict[str, Any]) -> None:
    found["cases.json"]["cases"].pop(1)


def cancelling(found: dict[str, Any]) -> None:
    """Cases that see the sum alone, and a bug that doubles it."""
    bug = found["bugs.json"]["bugs"][1]
    bug["edits"] = [{"find": "    return 2 * x\n", "replace": "    return 4 * x\n"}]
    cases = found["cases.json"]["cases"]
    cases[0]["steps"] = [{"do": "add", "tokens": 3}]
    cases[1]["steps"] = [{"do": "add", "tokens": 3}] * 2


OBJECTIONS: dict[str, tuple[Any, tuple[tuple[str, str], ...], tuple[str, ...], str]] = {
    "no case catches it": (
        None,
        (UNSEEN,),
        (),
        "'one-more' is caught by no case. Give a unit case about `__init__`",
    ),
    "no unit case catches it": (
        without_unit_case,
        (CAUGHT,),
        (),
        "'one-more' is caught by no unit case, so nothing shows where it is. Give a unit case about `add`",
    ),
    "no scenario catches it": (
        lambda f: f["cases.json"]["cases"].pop(2),
        (CAUGHT,),
        (),
        "'one-more' is caught by no scenario",
    ),
    "a partner cancels it": (
        cancelling,
        (("doubled = scale(x)\n", "doubled = scale(x) / 2\n"),),
        (),
        "'one-more' passes every case beside 'triples'",
    ),
    "it behaves as another bug": (
        None,
        (("        return self.total\n", "        return doubled\n"),),
        (),
        "'one-more' gives the outputs of 'forgets' in every case",
    ),
    "a decoy that changes a verdict": (
        None,
        (CAUGHT,),
        ("--decoy",),
        "'one-more' fails 'unit-add' (",
    ),
}


@pytest.mark.parametrize("name", OBJECTIONS)
def test_what_the_cases_do_not_bear_is_refused(
    name: str, make: Make, run: Run, capsys: Any
) -> None:
    spoil, changes, options, says = OBJECTIONS[name]
    challenge = make(spoil)
    before = files(challenge)

    assert run(edited(challenge, *changes), *options, *words()) == 3

    said = capsys.readouterr()
    assert any(line.startswith(f"kvdojo: {says}") for line in said.err.splitlines()), said
    assert said.err.endswith("Not added.\n")
    assert files(challenge) == before


TEXTS: dict[str, tuple[tuple[tuple[str, str], ...], dict[str, Any], str]] = {
    "a line of another entry": (
        (("self.total + doubled", "self.total - doubled"),),
        {},
        "touches line 18, which 'forgets' edits too; change another line, or say why",
    ),
    "the code of another entry": (
        (("self.total + doubled", "doubled"),),
        {"excludes": ("forgets", "one line")},
        "'one-more' is 'forgets' once more",
    ),
    "nothing that is executed": (
        (("        doubled = scale(x)\n", "        doubled = scale(x)  # as it was\n"),),
        {},
        "changes nothing that is executed",
    ),
    "an id that is taken": ((CAUGHT,), {"id": "forgets"}, "'forgets' is taken"),
    "an id with a blank": ((CAUGHT,), {"id": "one more"}, "does not match"),
    "a title of many words": ((CAUGHT,), {"title": "much " * 40}, "is too long"),
    "a comment that gives it away": (
        (("doubled = scale(x)\n", "doubled = scale(x) + 1  # wrong\n"),),
        {},
        "a planted comment gives the bug away",
    ),
    "hint 1 with the answer": (
        (CAUGHT,),
        {"hint": ("Write doubled = scale(x).", "b", "c")},
        "hint 1 quotes the answer `doubled = scale(x)`",
    ),
    "a symptom with the answer": (
        (CAUGHT,),
        {"symptom": "It should say doubled = scale(x)."},
        "the symptom quotes the answer",
    ),
    "hint 1 with hint 3": (
        (CAUGHT,),
        {"hint": ("Look: only what scale returns", "b", "Only what scale  returns.")},
        "hint 1 says what hint 3 is for",
    ),
    "an unknown partner": (
        (CAUGHT,),
        {"excludes": ("none", "because")},
        "excludes 'none', which is not in bugs.json",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_shows_in_the_text_is_refused_before_anything_runs(
    name: str, make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    changes, given, says = TEXTS[name]
    challenge = make()
    before = files(challenge)
    monkeypatch.setattr(grader.judge, "start_sandbox", lambda *_: pytest.fail("it was run"))
    options = ["--excludes", *given["excludes"]] if "excludes" in given else []
    texts = {key: value for key, value in given.items() if key != "excludes"}

    assert run(edited(challenge, *changes), *words(**texts), *options) == 3

    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert files(challenge) == before


def test_a_fault_is_not_read_out_of_its_sentence(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The reference may hold the words in which a shared line is reported."""
    line = "doubled = scale(x)  # forgets edits too\n"
    reference = make(recorded=False).reference_text.replace("doubled = scale(x)\n", line)
    challenge = make(lambda files: files.update(reference=reference))
    monkeypatch.setattr(grader.judge, "start_sandbox", lambda *_: pytest.fail("it was run"))

    source = edited(challenge, (line, "doubled = scale(x) + 1\n"))
    assert run(source, *words(symptom=f"It should say {line.strip()}.")) == 3

    said = capsys.readouterr().err
    assert "the symptom quotes the answer" in said
    assert "--excludes" not in said


HOSTILE: dict[str, tuple[Any, int, str]] = {
    "missing": (lambda path, text: None, 2, "does not exist: copy reference/tiny.py"),
    "a folder": (lambda path, text: path.mkdir(), 3, "is not an ordinary file"),
    "a pipe": (lambda path, text: os.mkfifo(path), 3, "is not an ordinary file"),
    "a link to itself": (lambda path, text: path.symlink_to(path), 2, "cannot be read"),
    "huge": (
        lambda path, text: path.write_text(text + "#" * MAX_SOURCE_BYTES),
        3,
        "is larger than 256 KiB",
    ),
    "not UTF-8": (
        lambda path, text: path.write_bytes(text.encode() + b"# \xff\n"),
        3,
        "not UTF-8 at byte",
    ),
    "a syntax error": (
        lambda path, text: path.write_text(text.replace("return 2 * x", "return 2 *")),
        3,
        "line 6: invalid syntax",
    ),
    "a null byte": (
        lambda path, text: path.write_text(text + "\0\n"),
        3,
        "source code string cannot contain null bytes",
    ),
    "nested too deeply": (
        lambda path, text: path.write_text(text + "a = " + "(" * 3000 + ")" * 3000 + "\n"),
        3,
        "mine.py: ",
    ),
    "the reference": (lambda path, text: path.write_text(text), 3, "is the reference"),
    "empty": (lambda path, text: path.write_text(""), 3, "Begin with a copy of the reference"),
    "a file of another challenge": (
        lambda path, text: path.write_text("import torch\n" + "x = torch.ones(3)\n" * 30),
        3,
        "Begin with a copy of the reference",
    ),
    "a mark beside nothing": (
        lambda path, text: path.write_text(
            text.replace("return 2 * x", "return 2 * x  # bug: a").replace(*CAUGHT)
        ),
        3,
        "the mark of 'a' stands beside nothing",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_one_line(name: str, make: Make, run: Run, capsys: Any) -> None:
    spoil, code, says = HOSTILE[name]
    challenge = make()
    before = files(challenge)
    path = challenge.root / "mine.py"
    spoil(path, challenge.reference_text)

    assert run(path, *words()) == code

    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert files(challenge) == before


@pytest.mark.parametrize("spoil", ["\r\n", "\r", "bom"])
def test_other_line_ends_and_a_mark_of_order_are_no_change(
    spoil: str, make: Make, run: Run, capsys: Any
) -> None:
    challenge = make()
    path = edited(challenge, CAUGHT)
    data = path.read_bytes()
    path.write_bytes(
        b"\xef\xbb\xbf" + data if spoil == "bom" else data.replace(b"\n", spoil.encode())
    )

    assert run(path, *words(), "--json") == 0

    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["edits"] == [{"find": f"        {CAUGHT[0]}", "replace": f"        {CAUGHT[1]}"}]
    assert entry["killed_by"] == {"unit": ["unit-add"], "scenario": ["twice"]}
    assert entry["refused_beside"] == 2


def test_a_dry_run_needs_no_words_and_writes_nothing(make: Make, run: Run, capsys: Any) -> None:
    challenge = make()
    before = files(challenge)
    assert run(edited(challenge, CAUGHT), "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["added"] is False
    assert found["entries"][0]["objections"] == []
    assert files(challenge) == before


def test_without_a_terminal_what_is_missing_is_named(make: Make, run: Run, capsys: Any) -> None:
    challenge = make()
    path = edited(challenge, CAUGHT)
    assert run(path, *words(title=None, hint=("One.", "Two."))) == 2
    assert "still missing: --title, --hint." in capsys.readouterr().err
    assert run(path, *words(hint=("1", "2", "3", "4"))) == 2
    assert run(path, *words(difficulty="7")) == 2
    assert capsys.readouterr().err.count("\n") == 2


MARKED = (
    ("doubled = scale(x)\n", "doubled = scale(x) + 1  # bug: one-more\n"),
    ("self.total = 0\n", "self.total = 1  # bug: begins-at-one\n"),
)


def test_one_of_several_marked_bugs_is_chosen_by_its_id(make: Make, run: Run, capsys: Any) -> None:
    challenge = make()
    path = edited(challenge, *MARKED)

    assert run(path, *words(id=None)) == 2
    assert "is for one bug, and the file holds 2" in capsys.readouterr().err
    assert run(path, *words(id="neither")) == 2
    assert "marks no 'neither', but begins-at-one, one-more" in capsys.readouterr().err
    assert run(path, *words(id="begins-at-one")) == 0

    now = reload(challenge)
    assert list(now.bugs) == ["forgets", "triples", "named", "begins-at-one"]
    assert now.bugs["begins-at-one"].edits[0].replace == "        self.total = 1\n"


class Terminal(io.StringIO):
    """What somebody types."""

    def isatty(self) -> bool:
        """Say that somebody is there."""
        return True


ANSWERS = {
    "id": "one-more",
    "title": "One too many is added",
    "family": "sums",
    "difficulty": "2",
    "symptom": "Totals grow too fast.",
    "explanation": "Nothing is added but the input.",
    "hint 1": "Look at the sum.",
    "hint 2": "What is added?",
    "hint 3": "Only what scale returns.",
    "source": "A textbook",
}


def test_on_a_terminal_what_is_missing_is_asked(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    challenge = make()
    typed = ["forgets", *ANSWERS.values()]
    typed[4:5] = ["nine", "2"]
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(typed) + "\n"))

    assert run(edited(challenge, CAUGHT)) == 0

    said = capsys.readouterr()
    assert "'forgets' is taken" in said.err
    assert "a number from 1 to 5 is expected" in said.err
    assert "+        doubled = scale(x) + 1" in said.err
    assert "Families so far: sums" in said.err
    bug = reload(challenge).bugs["one-more"]
    assert (bug.difficulty, bug.hints[2]) == (2, "Only what scale returns.")


def test_on_a_terminal_why_entries_of_one_line_exclude_each_other_is_asked(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    challenge = make()
    line = (
        "        self.total = self.total + doubled\n",
        "        self.total = self.total - doubled\n",
    )
    answers = list(ANSWERS.values())
    typed = [answers[0], "", *answers[1:]]
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(typed) + "\n"))

    assert run(edited(challenge, line)) == 0

    assert "Why are this and 'forgets' never planted together?" in capsys.readouterr().err
    assert reload(challenge).bugs["one-more"].excludes == {"forgets": "Both edit line 18."}


def test_who_gives_up_changes_nothing(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    challenge = make()
    before = files(challenge)
    monkeypatch.setattr(sys, "stdin", Terminal("one-more\nA title\n"))
    assert run(edited(challenge, CAUGHT)) == 130
    assert files(challenge) == before


def test_words_that_are_refused_are_not_lost(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    challenge = make()
    typed = {**ANSWERS, "hint 1": "Write doubled = scale(x)."}
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(typed.values()) + "\n"))
    assert run(edited(challenge, CAUGHT)) == 3
    said = capsys.readouterr().err
    assert "hint 1 quotes the answer" in said
    assert "--title 'One too many is added' --family sums --difficulty 2" in said


def test_several_places_without_marks_are_asked_about(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    challenge = make()
    path = edited(challenge, CAUGHT, ("self.total = 0\n", "self.total = 1\n"))
    both = [*list(ANSWERS.values())[1:], *list(ANSWERS.values())[1:]]
    typed = ["n", "begins-at-one", "one-more", *both]
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(typed) + "\n"))

    assert run(path) == 0

    assert "differs at line 13, line 17. Is this one bug?" in capsys.readouterr().err
    now = reload(challenge)
    assert [len(now.bugs[name].edits) for name in ("begins-at-one", "one-more")] == [1, 1]


def test_an_editor_is_opened_until_the_form_is_whole(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    challenge = make()
    script = tmp_path / "editor.py"
    answers = {key: value for key, value in ANSWERS.items() if key != "source"}
    script.write_text(
        "import json, pathlib, re, sys, time\n"
        f"answers = json.loads({json.dumps(answers)!r})\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "text = path.read_text()\n"
        "assert '+        doubled = scale(x) + 1' in text\n"
        "if '! source: say something here' in text:\n"
        "    answers['source'] = 'A textbook\\n  in two lines'\n"
        "for key, value in answers.items():\n"
        "    text = re.sub(f'^{key}:.*$', f'{key}: {value}', text, flags=re.M)\n"
        "path.write_text(text)\n"
        "import os; os.utime(path, (time.time() + 5,) * 2)\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")

    assert run(edited(challenge, CAUGHT), "--edit", "--id", "one-more") == 0

    bug = reload(challenge).bugs["one-more"]
    assert bug.sources == ({"title": "A textbook in two lines"},)
    assert bug.title == "One too many is added"


def test_content_that_changes_meanwhile_is_measured_again(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, tiny_sandbox: Sandbox, capsys: Any
) -> None:
    challenge = make()
    real = bug_questions.ask

    def ask(found: Challenge, given: dict[str, Any], change: str) -> dict[str, Any]:
        path = challenge.folder / "cases.json"
        document = json.loads(path.read_text())
        document["cases"].pop(1)
        path.write_text(json.dumps(document))
        record(tiny_sandbox, reload(challenge))
        return real(found, given, change)

    monkeypatch.setattr(bug_questions, "ask", ask)

    assert run(edited(challenge, CAUGHT), *words()) == 3

    assert "is caught by no unit case" in capsys.readouterr().err
    assert "one-more" not in reload(challenge).bugs


def test_who_reads_the_bugs_of_a_challenge_is_named(make: Make, run: Run, capsys: Any) -> None:
    challenge = make()
    other = challenge.root / "challenges" / "reader"
    other.mkdir()
    document = json.loads((challenge.folder / "challenge.json").read_text())
    document |= {"id": "reader", "reads": ["challenges/tiny/bugs.json"]}
    (other / "challenge.json").write_text(json.dumps(document))
    (challenge.root / "challenges" / "broken").mkdir()
    (challenge.root / "challenges" / "broken" / "challenge.json").write_text("{")

    assert run(edited(challenge, CAUGHT), *words()) == 0

    assert "reader reads bugs.json: run `" in capsys.readouterr().out


def test_a_line_may_be_shared_by_entries_that_exclude_each_other(
    make: Make, run: Run, tiny_sandbox: Sandbox, capsys: Any
) -> None:
    challenge = make()
    shared = ("self.total + doubled", "self.total - doubled")

    options = ["--excludes", "forgets", "both change what is kept"]
    assert run(edited(challenge, shared), *words(id="subtracts"), *options) == 0

    now = reload(challenge)
    assert now.bugs["subtracts"].excludes == {"forgets": "both change what is kept"}
    assert check_challenge(now, sets=5, sandbox=tiny_sandbox).violations == []
    capsys.readouterr()
    assert main(["plant", "tiny", "--bugs", "forgets,subtracts"], Catalogue(now.root)) == 2
    assert "both change what is kept" in capsys.readouterr().err
    for seed in range(20):
        assert main(["plant", "tiny", "--seed", str(seed), "--bugs", "2"], Catalogue(now.root)) == 0


def test_a_bug_that_raises_is_recorded_as_one(make: Make, run: Run) -> None:
    challenge = make()
    raising = ("doubled = scale(x)\n", "doubled = scale(x, x)\n")
    assert run(edited(challenge, raising), *words()) == 0
    assert reload(challenge).bugs["one-more"].raises


UNIT = {
    "id": "sums-of-three",
    "title": "Three sums",
    "why": "A sum of one input alone shows what is added to it.",
    "kind": "unit",
    "setup": {"d": 3},
    "seed": 8,
    "dtype": "float32",
    "steps": [{"do": "scale", "tokens": 2}, {"do": "add", "tokens": 3}],
}


def test_a_bug_that_no_unit_case_catches_brings_its_own(
    make: Make, run: Run, tiny_sandbox: Sandbox, tmp_path: Path, capsys: Any
) -> None:
    def spoil(found: dict[str, Any]) -> None:
        """The one unit case of `add` goes, and with it the bug that it caught."""
        found["cases.json"]["cases"].pop(1)
        found["bugs.json"]["bugs"].pop(0)
        found["challenge.json"]["presets"]["default"]["bugs"] = ["triples"]

    challenge = make(spoil)
    path = tmp_path / "unit.json"
    path.write_text(json.dumps(UNIT))
    assert run(edited(challenge, CAUGHT), *words()) == 3

    assert run(edited(challenge, CAUGHT), *words(), "--case", path) == 0

    assert "unit       sums-of-three" in capsys.readouterr().out
    now = reload(challenge)
    assert now.bugs["one-more"].witnesses == ("twice", "sums-of-three")
    assert now.bugs["triples"].witnesses == ("unit-scale", "twice", "sums-of-three")
    added = files(now)
    record(tiny_sandbox, now)
    assert files(now) == added
    assert check_challenge(now, sets=5, sandbox=tiny_sandbox).violations == []


def test_a_case_that_comes_with_a_bug_is_weighed_like_any_other(
    make: Make, run: Run, tmp_path: Path, capsys: Any
) -> None:
    challenge = make()
    before = files(challenge)
    path = tmp_path / "unit.json"
    for case, says in (
        (UNIT | {"id": "twice"}, "'twice' is taken by another case"),
        (UNIT | {"steps": [{"do": "ad", "tokens": 3}]}, "Did you mean 'add'?"),
        (challenge.case_entries[0] | {"id": "again"}, "has the sizes and steps of 'unit-scale'"),
    ):
        path.write_text(json.dumps(case))
        assert run(edited(challenge, CAUGHT), *words(), "--case", path) == 3
        assert says in capsys.readouterr().err
    assert files(challenge) == before


def test_a_challenge_that_is_not_recorded_is_told_so(make: Make, run: Run, capsys: Any) -> None:
    challenge = make(recorded=False)
    assert run(edited(challenge, CAUGHT), *words()) == 3
    assert "check tiny --record`" in capsys.readouterr().err
