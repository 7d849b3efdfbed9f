"""One watch with nothing replaced: the starter, then the reference, in one warm sandbox; what its threads keep."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys

import pytest

from grader.content import load_challenge


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
from grader.learner.regrader import share_one_heap

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
