"""docs/instructors.md is run from its first block to its last, and says what is really printed."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import grader.author.gate
import grader.cli.main
import grader.judge
import grader.judge.private_cases
from grader.content import Catalogue
from grader.ground.paths import ROOT
from grader.sandbox import Sandbox

PAGE = ROOT / "docs" / "instructors.md"
BLOCK = re.compile(
    r"(?:^<!-- (?P<order>[^\n]+?) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```\n",
    re.DOTALL | re.MULTILINE,
)
NUMBER = re.compile(r"\d[\d,.]*(?:e[+-]\d+)?")


class Lent(nullcontext[Sandbox]):
    """A sandbox that stays open for whoever needs it next."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.enter_result, name)

    def close(self) -> None:
        """Leave it open."""


@pytest.fixture
def checkout(
    tmp_path: Path, sandbox_for: Callable[[str], Sandbox], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A checkout with one challenge, in which commands of this process work."""
    for name in ("challenges/static_cache", "reference"):
        shutil.copytree(ROOT / name, tmp_path / name)
    box = sandbox_for("static_cache")
    for package in (
        grader.judge,
        grader.judge.grade_file,
        grader.judge.private_cases,
        grader.author.gate,
    ):
        monkeypatch.setattr(package, "start_sandbox", lambda *_, **__: Lent(box))
    monkeypatch.setenv("KVDOJO_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("called_by_its_name")
def test_every_block_runs_and_says_what_is_shown(checkout: Path, capsys: Any) -> None:
    kinds, tried = [], []
    for block in BLOCK.finditer(PAGE.read_text("utf-8")):
        kinds.append(block["kind"])
        if block["kind"] == "console":
            for words, shown in commands(block["text"]):
                run(words, shown, capsys)
            while tried:
                tried.pop()()
        else:
            tried += follow(block["order"], block["text"])
    assert kinds.count("console") >= 12
    assert kinds.count("json") >= 6
    assert kinds.count("diff") >= 2
    assert kinds.count("python") >= 5


def follow(order: str, text: str) -> list[Callable[[], object]]:
    """Do what the comment before a block says; returns what undoes it behind the next command."""
    if order == "form":  # what may be said, all at once; it must at least be Python
        compile(text, "form", "exec")
        return []
    verb, name, *key = order.split()
    path = Path(name)
    if verb == "in":  # an excerpt
        assert text in path.read_text()
    elif verb == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    elif verb == "edit":  # a copy of a file but for some lines
        lines = text.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] == mark) for mark in "-+")
        before = Path(key[0]).read_text()
        assert before.count(old) == 1
        path.write_text(before.replace(old, new))
    else:  # a verb of a driver, kept or only tried
        before = path.read_text()
        last = "\n\nPlan, Verbs = "
        assert before.count(last) == 1
        path.write_text(before.replace(last, f"\n\n{text}{last}"))
        return [partial(path.write_text, before)] if verb == "try" else []
    return []


def commands(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Split a console block into commands and the lines shown under each."""
    for part in text.replace(" \\\n", " ").removeprefix("$ ").split("\n$ "):
        line, *shown = part.rstrip("\n").split("\n")
        yield shlex.split(line), shown


def run(words: list[str], shown: list[str], capsys: Any) -> None:
    capsys.readouterr()
    code = grader.cli.main.main(words[1:], Catalogue(Path.cwd()))
    said = capsys.readouterr()
    lines = [plain(line) for line in (said.out + said.err).splitlines()]
    exits = [line for line in shown if line.startswith("[exit ")] or ["[exit 0]"]
    assert f"[exit {code}]" == exits[0], said.out + said.err
    for line in shown:
        if line.strip() not in ("", "...") and not line.startswith("[exit "):
            assert any(fits(plain(line), other) for other in lines), f"{line!r} not in: {said}"


def plain(line: str) -> str:
    """Blanks and numbers aside, which change with machine and content."""
    return " ".join(NUMBER.sub("N", line).split())


def fits(shown: str, said: str) -> bool:
    head, gap, tail = shown.partition("[...]")
    return said.startswith(head) and said.endswith(tail) if gap else said == shown
