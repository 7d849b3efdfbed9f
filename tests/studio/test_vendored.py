"""The files of others that the pages load: they are those that were fetched, and work under the studio's policy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

VENDOR = Path(__file__).parents[2] / "grader" / "studio" / "static" / "vendor"
ENTRIES: list[dict[str, Any]] = json.loads((VENDOR / "vendored.json").read_text("utf-8"))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_file_is_the_one_that_was_fetched(entry: dict[str, Any]) -> None:
    file = VENDOR / entry["file"]
    assert file.parent.name == entry["name"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == entry["sha256"]
    assert len((file.parent / "LICENSE").read_text("utf-8")) > 500
    assert entry["source"].startswith("https://")
    assert entry["version"]
    assert entry["licence"]


def test_no_file_is_unlisted() -> None:
    listed = {"README.md", "vendored.json"}
    for entry in ENTRIES:
        listed |= {entry["file"], f"{entry['name']}/LICENSE"}
        listed |= {entry["built"]["from"]} if "built" in entry else set()
    found = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert found == listed
