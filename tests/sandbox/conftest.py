"""One isolated sandbox for the whole folder, and a driver that only calls the submission's `f`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from grader.sandbox import Limits, Reply, Request, Sandbox

DRIVER = b"""
from grader.kit import Wrong, need

class Verbs:
    MAY_CHANGE = {"scratch": {"x"}}

    def __init__(self, submission):
        self.submission = submission

    def call(self, **arguments):
        result = need(self.submission, "f")(**arguments)
        self.returned = result
        return result if isinstance(result, dict) else {"out": result}

    scratch = call

    def wrong(self):
        raise Wrong("wrong_shape", "the driver says so")
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not sys.platform.startswith("linux"):
        skip = pytest.mark.skip(reason="confinement exists on Linux only")
        for item in items:
            if "sandbox" in getattr(item, "fixturenames", ()):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as box:
        box.ready()
        if not box.isolated:
            pytest.skip(box.notice or "not isolated")
        yield box


@pytest.fixture
def ask(sandbox: Sandbox) -> Callable[..., Reply]:
    """Load a source, send one request, return the reply (of the load, if that already failed)."""

    def run(
        source: str | bytes,
        request: Request | None = None,
        *,
        limits: Limits | None = None,
        room: int = 1 << 16,
    ) -> Reply:
        code = source.encode() if isinstance(source, str) else source
        with sandbox.open(code, DRIVER, limits=limits) as session:
            loaded = session.load()
            if loaded.raised or loaded.problem:
                return loaded
            return session.ask(request or Request("call"), max_reply_bytes=room)

    return run
