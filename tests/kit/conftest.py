"""A driver from its text, as the grader and a worker load it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from grader.content.driver_loading import checked_driver
from grader.kit import both_sides
from grader.kit.driver import Driver
from grader.kit.trusted_side import Plan


class Sides(NamedTuple):
    """Both sides of a driver: what the judge asks for inputs, and what runs beside a submission."""

    plan: type[Plan]
    calls: Any

    @property
    def driver(self) -> Driver:
        return self.plan.driver


def sides_of(text: str) -> Sides:
    scope: dict[str, Any] = {"__source__": text}
    exec(compile(text, "driver.py", "exec", dont_inherit=True), scope)
    return Sides(*both_sides(scope))


def checked(text: str) -> Driver:
    """Load a driver as `kvdojo check` does; its path is `/tmp/driver.py`."""
    challenge: Any = SimpleNamespace(folder=Path("/tmp"), driver=text.encode())
    return checked_driver(challenge)


@pytest.fixture(name="sides_of")
def sides_of_fixture() -> Any:
    return sides_of


@pytest.fixture(name="checked")
def checked_fixture() -> Any:
    return checked
