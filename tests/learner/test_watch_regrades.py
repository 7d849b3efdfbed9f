"""One watch with nothing replaced: the starter, then the reference, in one warm sandbox; what goes on between saves."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from queue import SimpleQueue
from types import SimpleNamespace
from typing import cast

import pytest

from grader.content import load_challenge
from grader.learner import watch_events as events
from grader.learner.regrader import QUIET_SECONDS, GradingFunctions, Regrader
from grader.learner.watch_options import WatchOptions


def test_the_starter_is_mended_at_a_save(tmp_path) -> None:
    challenge = load_challenge("multi_head_attention")
    path = tmp_path / challenge.file
    path.write_bytes(challenge.starter.read_bytes())
    argv = [sys.executable, "-m", "grader", "watch", challenge.id, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = iter(process.stdout)
            assert f"{path.name}: failed" in next(line for line in lines if "points" in line)
            path.write_text(challenge.reference_text)
            assert f"{path.name}: passed" in next(line for line in lines if "points" in line)
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait(30) == 130
        finally:
            process.kill()  # leaving `with` waits for the process, also after a failed assertion


HEAPS = """
import ctypes, sys, threading
from grader.ground.heap import share_one_heap

if sys.argv[2] == "shared":
    share_one_heap()
together = threading.Barrier(6)
held = []

def take():
    together.wait()
    held.append([bytes(9_000) for _ in range(50)])
    together.wait()

threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="needs glibc")
def test_the_threads_of_many_gradings_share_one_heap(tmp_path) -> None:
    heaps = {}
    for how in ("shared", "apart"):
        said = tmp_path / how
        subprocess.run([sys.executable, "-c", HEAPS, str(said), how], check=True, timeout=60)
        heaps[how] = said.read_text("utf-8").count("<heap ")
    assert heaps["shared"] == 1 < heaps["apart"]


class Unseen:
    """Unseen inputs that take three answers, and count how many were made."""

    def __init__(self) -> None:
        self.made, self.asked, self.closed = 0, False, False

    def make_more(self) -> bool:
        self.made += self.made < 3
        return self.made < 3

    def close(self) -> None:
        self.closed = True


def test_unseen_inputs_are_made_between_saves_and_used_by_one_that_asks_them(tmp_path) -> None:
    """The first save finds none; the second fails, so the third still gets those; the fourth gets others."""
    made: list[Unseen] = []
    got: list[Unseen | None] = []

    def grade(_challenge, source, *, unseen, **_) -> str:
        got.append(unseen)
        if unseen is not None:
            unseen.asked = source == b"right"
        return "a result"

    def anew(*_) -> Unseen:
        made.append(Unseen())
        return made[-1]

    class Box:
        def close(self) -> None:
            pass

    queue: events.EventQueue = SimpleQueue()
    options = cast(WatchOptions, SimpleNamespace(challenge=None, isolate=True, path=tmp_path))
    functions = GradingFunctions(lambda *_, **__: Box(), grade, anew)
    with Regrader(options, queue, functions) as regrader:
        for count, source in enumerate([b"wrong", b"wrong", b"right", b"wrong"]):
            regrader.grade(events.FileSaved(source, 0.0))
            assert isinstance(queue.get(timeout=10), events.GradingFinished)
            wanted = [3] * (1 + (count >= 2))
            until = time.monotonic() + 10
            while [each.made for each in made] != wanted and time.monotonic() < until:
                time.sleep(0.01)
            assert [each.made for each in made] == wanted
    assert got == [None, made[0], made[0], made[1]]
    assert [each.closed for each in made] == [True, False]


def test_a_reference_that_does_not_answer_stops_no_grading(tmp_path) -> None:
    def broken(*_):
        raise AssertionError("not of any kind that is expected")

    queue: events.EventQueue = SimpleQueue()
    options = cast(WatchOptions, SimpleNamespace(challenge=None, isolate=True, path=tmp_path))
    box = SimpleNamespace(close=lambda: None)
    functions = GradingFunctions(lambda *_, **__: box, lambda *_, **__: "a result", broken)
    with Regrader(options, queue, functions) as regrader:
        time.sleep(2 * QUIET_SECONDS)
        regrader.grade(events.FileSaved(b"", 0.0))
        assert isinstance(queue.get(timeout=10), events.GradingFinished)


HOLES = """
import os
from grader.ground.heap import give_back_memory, share_one_heap

def resident():
    with open("/proc/self/statm", "rb") as said:
        return int(said.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

share_one_heap()
held = [bytes(9_000) for _ in range(20_000)]
last = held[-1]  # keeps the heap's end where it is
before = resident()
del held
after = resident()
give_back_memory()
print(before - after, after - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_what_a_grading_has_left_unused_is_given_back() -> None:
    said = subprocess.run(
        [sys.executable, "-c", HOLES], check=True, timeout=60, capture_output=True, text=True
    )
    alone, told = map(int, said.stdout.split())
    assert alone < 50e6 < 100e6 < told
