"""Read a document as an export does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grader.report.exports.result_files import Graded, read


@pytest.fixture
def graded(tmp_path: Path) -> Callable[..., Graded]:
    def make(made: dict[str, Any], name: str = "ada") -> Graded:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(made))
        (one,) = read(path)
        return one

    return make
