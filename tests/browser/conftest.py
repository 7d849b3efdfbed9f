"""The browser of all tests here; each looks at pages of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from access import CHROMIUM, OPTIONS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield made
        made.close()
