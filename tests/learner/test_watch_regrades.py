"""One watch with nothing replaced: the starter, then the reference, in one warm sandbox."""

from __future__ import annotations

import signal
import subprocess
import sys

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
