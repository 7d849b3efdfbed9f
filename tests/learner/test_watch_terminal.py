"""A watch as a person sees it: saves of all kinds, keys, hostile text, and a terminal put back at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
RIGHT = "x = 'right first, right second'\n"


def rename(path: Path, text: str) -> None:
    other = path.with_name(".kv_attention.py.swp")
    other.write_text(text)
    os.replace(other, path)


def in_pieces(path: Path, text: str) -> None:
    with path.open("w") as stream:
        for piece in (text[:7], text[7:]):
            stream.write(piece)
            stream.flush()
            time.sleep(0.01)


def anew(path: Path, text: str) -> None:
    path.unlink()
    time.sleep(0.2)
    path.write_text(text)


def with_its_folder(path: Path, text: str) -> None:
    path.unlink()
    path.parent.rename(path.parent.with_name("away"))
    time.sleep(0.2)
    path.parent.mkdir()
    path.write_text(text)


@pytest.mark.parametrize("save", [Path.write_text, rename, in_pieces, anew, with_its_folder])
def test_every_way_to_save_is_seen(watching, file, save) -> None:
    terminal = watching()
    assert "0 of 2 cases passed" in terminal.see("failed case 1 of 2", "waiting for the next save")
    save(file, RIGHT)
    shown = terminal.see("2 of 2 cases passed", "All cases pass.")
    assert "fixed: The scale was wrong" in shown
    assert "2 cases more pass: first, second" in shown
    terminal.press(b"q")
    assert terminal.end() == 0
    assert terminal.restored


def test_a_polled_file_is_seen_too(watching, file) -> None:
    terminal = watching("--poll")
    terminal.see("0 of 2 cases passed")
    file.write_text(RIGHT)
    terminal.see("2 of 2 cases passed")


def test_a_suspicion_is_typed(watching, file) -> None:
    terminal = watching()
    terminal.see("failed case 1 of 2", "suspect")
    terminal.press(b"p")
    terminal.see("Which line do you suspect")
    terminal.press(b"921\x7f quite late\x1b[A\x1b\x07")
    terminal.see("92 quite late_")
    terminal.press(b"\r")
    terminal.see("Suspicion", "noted: 92 quite late")
    terminal.press(b"p")
    terminal.see("Which line do you suspect")
    terminal.press(b"4\x7f\x7f")  # taken back
    terminal.see("failed case 1 of 2")
    terminal.press(b"n")
    terminal.see("failed case 2 of 2")
    terminal.press(b"p")
    terminal.see("Which line do you suspect")
    terminal.press(b"\x04")
    assert terminal.end() == 0
    assert terminal.restored


@pytest.mark.parametrize(("key", "said"), [(b"2", "Right. So it is."), (b"4", "It was 2: second")])
def test_a_question_after_a_fix(watching, file, key, said) -> None:
    terminal = watching()
    terminal.see("0 of 2 cases passed")
    file.write_text(RIGHT)
    terminal.see("w asks one question", "Your suspicion was right.")
    terminal.press(key)  # a number alone is no answer
    terminal.press(b"ww")
    terminal.see("w asks one question")
    terminal.press(b"w")
    assert "All cases pass." not in terminal.see(
        "How does it show?", "3  third", "a number answers"
    )
    terminal.press(key)
    terminal.see(said)
    terminal.press(b"3")
    terminal.press(b"q")
    assert terminal.end() == 0
    assert terminal.restored


def test_a_question_goes_with_the_next_save(watching, file) -> None:
    terminal = watching()
    terminal.see("0 of 2 cases passed")
    file.write_text(RIGHT)
    terminal.see("w asks one question")
    terminal.press(b"w")
    terminal.see("How does it show?")
    file.write_text("x = 'right first'\n")
    assert "one question" not in terminal.see("1 of 2 cases passed", "waiting")
    terminal.press(b"2")
    terminal.press(b"q")
    assert terminal.end() == 0


def test_keys(watching, file) -> None:
    terminal = watching()
    terminal.see("The first case", "failed case 1 of 2")
    terminal.press(b"n")
    terminal.see("The second case", "failed case 2 of 2")
    terminal.press(b"h")
    terminal.see("a hint about second")
    terminal.press(b"t")
    terminal.see("a trace of second")
    terminal.press(b"\x1b[A!z")  # keys without a meaning
    terminal.press(b"R")
    terminal.see("graded 2 times", "no verdict has changed", "failed case 2 of 2")
    terminal.press(b"N")
    terminal.see("failed case 1 of 2")
    terminal.press(b"q")
    assert terminal.end() == 0


def test_a_file_being_typed_keeps_the_last_verdict(watching, file) -> None:
    terminal = watching()
    terminal.see("0 of 2 cases passed")
    file.write_text("def x(:\n")
    terminal.see("not valid Python yet, line 1", "0 of 2 cases passed")
    file.unlink()
    terminal.see("it does not exist", "0 of 2 cases passed")
    file.write_bytes(b"#" * (300 << 10))
    terminal.see("larger than 256 KiB")
    file.write_text(RIGHT)
    terminal.see("2 of 2 cases passed")


def test_a_newer_save_ends_the_grading_of_an_older_one(watching, file) -> None:
    file.write_text("x = 'slow'\n")
    terminal = watching()
    terminal.see("grading ")
    file.write_text(RIGHT)
    shown = terminal.see("2 of 2 cases passed")
    assert "graded 1 time" in shown


def test_hostile_text_is_only_text(watching, file) -> None:
    file.write_text("x = 'hostile'\n")
    terminal = watching()
    shown = terminal.see("printed by your file")
    assert "first: <b>\\x1b[31m\\x1b]0;title\\x07\\u202e[red]" in shown
    assert b"\x1b]0;" not in terminal.raw
    assert b"\x07" not in terminal.raw
    assert "\u202e".encode() not in terminal.raw


def test_the_keys_stay_in_a_small_window(watching) -> None:
    terminal = watching(columns=40, rows=9)
    shown = terminal.see("failed case 1 of 2", "more lines")
    assert "next case" in shown.split("\n")[-1]
    terminal.resize(90, 24)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    assert "more lines" not in terminal.see("It differs.", "quit")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_end_it_and_the_terminal_is_put_back(watching, number, status) -> None:
    terminal = watching()
    terminal.see("0 of 2 cases passed")
    if number == signal.SIGINT:
        terminal.press(b"\x03")
    else:
        terminal.process.send_signal(number)
    assert terminal.end() == status
    assert terminal.restored


def test_it_can_be_suspended(watching, file) -> None:
    terminal = watching()
    terminal.see("0 of 2 cases passed")
    terminal.process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    terminal._take(0.2)
    assert terminal.restored
    terminal.process.send_signal(signal.SIGCONT)
    file.write_text(RIGHT)
    terminal.see("2 of 2 cases passed")
    terminal.press(b"q")
    assert terminal.end() == 0
    assert terminal.restored


def test_a_grader_that_fails_is_one_line(watching, file) -> None:
    file.write_text("x = 'broken grader'\n")
    terminal = watching()
    terminal.see("the sandbox does not start")
    file.write_text(RIGHT)
    terminal.see("2 of 2 cases passed")


def test_a_bug_of_ours_is_raised_and_the_terminal_put_back(watching, file) -> None:
    file.write_text("x = 'our bug'\n")
    terminal = watching()
    assert terminal.end() == 4
    assert "This is a bug in kvdojo" in terminal.text
    assert terminal.restored


def test_without_a_terminal_there_are_plain_lines(file) -> None:
    double = Path(__file__).with_name("watch_double.py")
    process = subprocess.Popen(
        [sys.executable, double, file],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(double.parents[2])},
    )
    assert process.stdout is not None
    assert "Ctrl-C ends it" in process.stdout.readline()
    assert "0 of 2 cases passed" in process.stdout.readline()
    assert "first failed case: first: first: It differs." in process.stdout.readline()
    file.write_text(RIGHT)
    assert "2 of 2 cases passed" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert "\x1b" not in process.stdout.read()
    process.stdout.close()
    assert process.wait(20) == 130
