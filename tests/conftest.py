"""What several folders of tests share: warm sandboxes, one per challenge and test process, and more."""

from __future__ import annotations

import os
import signal
import sys

os.environ.setdefault("TRITON_INTERPRET", "1")

from collections.abc import Callable, Iterator

import pytest

from grader.content import load_challenge
from grader.judge import start_sandbox
from grader.sandbox import Sandbox

# a shell starts what runs in the background with Ctrl-C ignored, and so would be all that the tests interrupt
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HANGS = 300  # seconds; longer than any test takes


# not in pyproject.toml: `pytest --kvdojo` runs in this folder too, where pytest-timeout may be absent
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End a test that hangs."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(HANGS))


@pytest.fixture(scope="session")
def sandbox_for() -> Iterator[Callable[[str], Sandbox]]:
    """Return the warm, isolated sandbox of a challenge."""
    boxes: dict[str, Sandbox] = {}

    def get(name: str) -> Sandbox:
        if name not in boxes:
            boxes[name] = start_sandbox(load_challenge(name))
            boxes[name].ready()
        return boxes[name]

    yield get
    for box in boxes.values():
        box.close()


@pytest.fixture
def called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages say `kvdojo`, as if it had been found on the PATH, wherever the tests run."""
    monkeypatch.setattr(sys, "argv", ["kvdojo"])
