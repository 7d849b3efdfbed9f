"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest
from house.imports import modules_of

from grader.ground.paths import ROOT

SHOWING = [
    name
    for name, path in modules_of(ROOT, "grader").items()
    if "\n    >>> " in path.read_text("utf-8") and ".in_worker" not in name
]


@pytest.mark.parametrize("name", SHOWING)
def test_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(import_module(name))
    assert result.attempted
    assert not result.failed
