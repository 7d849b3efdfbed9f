"""Read a document as an export does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grader.report.exports.result_files import Exported, read


@pytest.fixture
def graded(tmp_path: Path) -> Callable[..., Exported]:
    def make(made: dict[str, Any], name: str = "ada") -> Exported:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(made))
        (one,) = read(path)
        return one

    return make
