"""Bugs that nobody wrote: `start --fresh`, and all of a learner's help on them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from grader.content import Catalogue
from grader.content.generated_bugs import SCHEMA, text_digest

LINES = {
    "g-1": ("return x / len(x)\n", "return x * len(x)\n", "easy", ["scale-unit"]),
    "g-2": ("return x + 1\n", "return x - 1\n", "hard", ["mask-unit"]),
    "g-3": ("return x >= 0\n", "return x <= 0\n", "hard", ["scale-unit", "mask-unit"]),
}


def generated(lines, reference):
    bugs = [
        {
            "id": name,
            "operators": ["sign_flipped"],
            "function": "f",
            "family": "sums",
            "score": 0.5,
            "level": level,
            "difficulty": 2,
            "title": f"The title of {name}",
            "edits": [{"find": find, "replace": replace}],
            "symptom": "Wrong sums.",
            "explanation": "Sums are wrong.",
            "hints": [f"{name}: where", f"{name}: idea", f"{name}: line"],
            "witnesses": witnesses,
        }
        for name, (find, replace, level, witnesses) in lines.items()
    ]
    head = {"schema": SCHEMA, "reference": text_digest(reference), "cases": "c"}
    return {**head, "proposed": 9, "dropped": {}, "apart": [], "bugs": bugs}


@pytest.fixture
def fresh(dojo):
    """The small challenge with three generated bugs."""

    def write(lines=LINES):
        challenge = Catalogue(dojo.root).load("small_sums")
        challenge.recorded.mkdir(exist_ok=True)
        document = generated(lines, challenge.reference_text)
        challenge.generated.write_text(json.dumps(document))

    write()
    dojo.write_generated = write
    return dojo


def test_the_same_number_gives_the_same_bytes(fresh, tmp_path, capsys):
    texts = {}
    for name, number in (("a", 7), ("b", 7), ("c", 8), ("d", 9), ("e", 10)):
        words = ("--fresh", number, "--bugs", 1, "--to", tmp_path / name)
        assert fresh.run("start", "small_sums", *words) == 0
        texts[name] = (tmp_path / name / "sums.py").read_text()
    assert "1 planted bug that nobody wrote, drawn by 7." in capsys.readouterr().out
    assert texts["a"] == texts["b"]
    assert len(set(texts.values())) > 1


def test_the_state_tells_how_and_not_what(fresh):
    fresh.run("start", "small_sums", "--fresh", 3, "--level", "hard")
    state = (fresh.file.parent / ".kvdojo.json").read_text()
    assert "g-" not in state.replace(text_digest(""), "")
    assert json.loads(state)["fresh"] == 3
    assert json.loads(state)["level"] == "hard"


def test_only_bugs_of_the_level_are_drawn(fresh):
    for number in range(6):
        fresh.run("start", "small_sums", "--fresh", number, "--level", "easy", "--force")
        text = fresh.file.read_text()
        assert "x * len(x)" in text
        assert "x + 1" in text
        assert "x >= 0" in text


def test_hints_and_the_solution_know_them(fresh, capsys):
    fresh.run("start", "small_sums", "--fresh", 1, "--level", "easy")
    capsys.readouterr()
    for said in ("where", "idea", "line"):
        assert fresh.run("hint", "small_sums") == 0
        assert f"g-1: {said}" in capsys.readouterr().out
    fresh.run("solution", "small_sums", "--diff")
    said = capsys.readouterr().out
    assert "-    return x * len(x)" in said
    assert "+    return x / len(x)" in said
    fresh.file.write_text(fresh.file.read_text().replace("x * len(x)", "x / len(x)"))
    fresh.run("hint", "small_sums")
    assert "No planted bug is left." in capsys.readouterr().out


def test_reset_puts_the_same_starter_back(fresh):
    fresh.run("start", "small_sums", "--fresh", 4, "--bugs", 2)
    starter = fresh.file.read_text()
    fresh.file.write_text("mine\n")
    assert fresh.run("reset", "small_sums", "--force") == 0
    assert fresh.file.read_text() == starter


def test_another_set_of_generated_bugs_ends_an_attempt_with_a_word(fresh, capsys):
    fresh.run("start", "small_sums", "--fresh", 4, "--bugs", 1)
    fresh.write_generated({name: LINES[name] for name in ("g-1", "g-2")})
    capsys.readouterr()
    assert fresh.run("hint", "small_sums") == 2
    said = capsys.readouterr().err
    assert "its generated bugs are another set now" in said
    assert "--force" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fresh", 1, "--seed", 2), "three ways to choose"),
        (("--fresh", 1, "--preset", "contest"), "three ways to choose"),
        (("--level", "hard"), "give --fresh N with it"),
        (("--fresh", 1, "--level", "impossible"), "impossible"),
        (("--fresh", -1), "-1"),
        (("--fresh", 1, "--bugs", 0), "0"),
        (("--fresh", 1, "--bugs", 9), "only 3 generated bugs"),
        (("--fresh", 1, "--bugs", 3, "--level", "hard"), "only 2 hard generated bugs"),
    ],
)
def test_a_wrong_command_line_is_said_in_words(fresh, capsys, words, said):
    assert fresh.run("start", "small_sums", *words) == 2
    assert said in capsys.readouterr().err
    assert not fresh.file.exists()


def test_a_challenge_without_generated_bugs_says_so(dojo, capsys):
    assert dojo.run("start", "small_sums", "--fresh", 1) == 3
    assert "has no generated bugs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"fresh": -1},
        {"fresh": "1"},
        {"bugs": None},
        {"level": 3},
        {"generated": 5},
    ],
)
def test_a_damaged_state_is_one_line(fresh, capsys, change):
    fresh.run("start", "small_sums", "--fresh", 1, "--level", "hard")
    path = fresh.file.parent / ".kvdojo.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    capsys.readouterr()
    assert fresh.run("hint", "small_sums") == 2
    assert "is damaged" in capsys.readouterr().err


def test_an_attempt_is_begun_without_loading_what_judges(tmp_path) -> None:
    """NumPy and the schemas of JSON take longer to load than all that `start` does."""
    code = (
        "import sys; from grader.cli.main import main;"
        f"code = main(['start', 'multi_head_attention', '--to', {str(tmp_path / 'mine')!r}, '--fresh', '7']);"
        "print(code, sorted({'numpy', 'jsonschema', 'torch', 'grader.judge'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr
