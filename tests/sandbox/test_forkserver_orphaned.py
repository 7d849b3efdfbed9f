"""A fork server whose grader is ended while it starts ends as well, without a word on the terminal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

GRADER = """
import os, signal, sys
from grader.sandbox.process import ForkServerClient
server = ForkServerClient(preload=[], env={})
print(server.pid, flush=True)
if "greeted" in sys.argv:
    server.greet(60)
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is forked here")
@pytest.mark.parametrize("when", ["warming", "greeted"])
def test_a_grader_that_is_gone_leaves_no_process_and_no_traceback(when: str) -> None:
    # returns once the fork server has closed its standard error, too
    done = subprocess.run(
        [sys.executable, "-c", GRADER, when],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == -15
    assert done.stderr == ""
    assert not os.path.exists(f"/proc/{int(done.stdout)}/exe")
