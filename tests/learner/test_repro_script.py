"""A case as a plain script: right files pass it, wrong ones fail where the grader says, and it needs no grader."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from grader.cli.main import main
from grader.content import load_challenge
from grader.content.planting import plant
from grader.judge.golden_check import prepare
from grader.learner.repro_script import repro_script

CASES = {
    "multi_head_attention": (
        "one-head",
        "live-prefix",
        "capacity",
        "mask-chunk",
        "dropout-rate-and-scale",
    ),
    "static_cache": ("long-first-calls", "append-without-room"),
    "conversation_prefix": ("roles-that-cannot-speak", "encode-adds-nothing"),
    "decode_positions": ("chunks-3-3-2", "unit-advance"),
    "triton_decode": ("nobody-home",),
}


def script(name: str, case: str, file: Path) -> str:
    challenge = load_challenge(name)
    golden = prepare(challenge, [challenge.cases[case]])
    return repro_script(challenge, challenge.cases[case], golden.cases[case], file)


def run(text: str, file: Path, capsys) -> tuple[int, str]:
    """Run a script in this process, on a file."""
    names: dict = {"__name__": "script"}
    exec(compile(text, "repro.py", "exec"), names)
    capsys.readouterr()
    # drivers turn gradients off, in what they take for a process of their own
    with torch.enable_grad():
        code = names["main"](str(file), names["steps"], names["DRIVER"], names["KIT"])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(("name", "case"), [(n, c) for n, cases in CASES.items() for c in cases])
def test_the_reference_passes_its_script(name, case, capsys) -> None:
    reference = load_challenge(name).reference
    assert run(script(name, case, reference), reference, capsys) == (0, "Every answer is right.\n")


@pytest.mark.parametrize(
    ("bug", "case", "said"),
    [
        (
            "seed-scale-missing-sqrt",
            "one-head",
            "step 1, forward: `output` differs in 54 of 72 values",
        ),
        ("prompt-cache-mutated-by-generate", "live-empty", "step 1, forward: "),
    ],
)
def test_a_wrong_file_fails_where_the_grader_says(bug, case, said, capsys, tmp_path) -> None:
    challenge = load_challenge("multi_head_attention")
    file = tmp_path / "mine.py"
    file.write_text(plant(challenge, [bug]))
    code, out = run(script(challenge.id, case, file), file, capsys)
    assert code == 1
    assert out.startswith(said)


def test_an_exception_of_the_file_reaches_the_debugger(capsys, tmp_path) -> None:
    challenge = load_challenge("multi_head_attention")
    file = tmp_path / "mine.py"
    file.write_text(plant(challenge, ["seed-cache-cat-dim2"]))
    with pytest.raises(RuntimeError) as caught:
        run(script(challenge.id, "one-token", file), file, capsys)
    assert any(entry.path == file for entry in caught.traceback)


@pytest.mark.parametrize(
    ("name", "case"), [("multi_head_attention", "one-head"), ("triton_decode", "fold-rising-tiles")]
)
def test_it_runs_alone_with_torch(name, case, tmp_path) -> None:
    """In a Python that cannot import the grader at all; the learner's own file is a real file to a debugger."""
    challenge = load_challenge(name)
    file = tmp_path / "mine.py"
    file.write_text(challenge.reference_text + "\nprint('at', __file__)\n")
    made = tmp_path / "repro.py"
    made.write_text(script(challenge.id, case, file))
    # -S leaves out what an editable installation adds to the path
    packages = sysconfig.get_path("purelib")
    program = (
        f"import sys, runpy; sys.path.append({packages!r})\n"
        "import importlib.util; assert importlib.util.find_spec('grader') is None\n"
        f"runpy.run_path({str(made)!r}, run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True, text=True, cwd=tmp_path, env={"OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert ended.stdout == f"at {file}\nEvery answer is right.\n", ended.stderr
    assert ended.returncode == 0


def test_a_case_whose_inputs_follow_from_answers_is_refused(tmp_path, capsys) -> None:
    challenge = load_challenge("world_model_cache")
    words = ["repro", challenge.id, str(challenge.reference), "--case", "tree-of-four-steps"]
    assert main(words) == 2
    assert "choose another case" in capsys.readouterr().err
    out = tmp_path / "repro.py"
    words = [
        "static_cache",
        str(load_challenge("static_cache").starter),
        "--case",
        "long-first-calls",
    ]
    assert main(["repro", *words, "--out", str(out)]) == 0
    assert "def steps():" in out.read_text()


def test_a_hostile_path_is_text_and_nothing_else(tmp_path, capsys) -> None:
    reference = load_challenge("multi_head_attention").reference
    text = script("multi_head_attention", "one-head", Path('/tmp/"""\n\'); import nothing #'))
    assert run(text, reference, capsys)[0] == 0
