"""A lock keeps others out until its file is closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grader.ground.locks import Locked, lock


def test_a_second_one_is_refused_or_waits(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    try:
        lock(first)
        with pytest.raises(Locked):
            lock(second)
        told: list[str] = []

        def waiting() -> None:
            told.append("waiting")
            os.close(first)

        lock(second, waiting)
        assert told == ["waiting"]
    finally:
        os.close(second)
