"""A fork server whose grader is ended while it starts ends as well, without a word on the terminal."""

from __future__ import annotations

import os
from typing import Any

import pytest

from grader.sandbox.process import ForkServerClient


@pytest.mark.parametrize("greeted", [False, True], ids=["while it warms up", "before it is armed"])
def test_a_grader_that_is_gone_leaves_no_traceback(
    capfd: pytest.CaptureFixture[str], greeted: bool
) -> None:
    server: Any = ForkServerClient(preload=[], env={})
    if greeted:
        server.greet(60)
    server._control.close()  # as the kernel does when the grader is ended by TERM or HUP
    _, status = os.waitpid(server.pid, 0)
    server._alive = False
    assert os.waitstatus_to_exitcode(status) == 0
    assert capfd.readouterr() == ("", "")
