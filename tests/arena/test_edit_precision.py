"""Statements that were changed, and those of them at a bug."""

from __future__ import annotations

import pytest

from grader.arena.arena_task import PlantedFile, Planting
from grader.arena.edit_precision import MORE, EditCount, bug_places, count_edit
from grader.content import Bug, Edit, load_challenge
from grader.content.statements import VersionsOf

RIGHT = """
class A:
    def f(self, x):
        y = x + 1
        z = y * 2
        w = z - 3
        return w

    def g(self, x):
        self.n = x
        self.m = x
        return self.n
"""


def bug(name: str, find: str, replace: str) -> Bug:
    return Bug(name, "bug", "f", 1, "t", (Edit(find, replace),), "s", "e", ("", "", ""), ())


BUGS = {
    "twice": bug("twice", "        z = y * 2\n", "        z = y * 3\n"),
    "lost": bug("lost", "        self.m = x\n", ""),
    "comment": bug("comment", "class A:\n", "class A:  # odd\n"),
}


@pytest.fixture
def file() -> PlantedFile:
    challenge = load_challenge("multi_head_attention")
    challenge.__dict__.update(reference_text=RIGHT, bugs=BUGS)
    return PlantedFile(challenge, Planting(("lost", "twice"), ("comment",), None))


def counted(file: PlantedFile, text: str) -> EditCount | None:
    versions = VersionsOf(file.source)
    return count_edit(versions, bug_places(file, versions), text)


def test_the_best_mend_is_all_at_the_bugs(file) -> None:
    assert counted(file, file.mended) == EditCount(3, 3)
    assert counted(file, file.without("twice")) == EditCount(2, 2)
    assert counted(file, file.without("lost")) == EditCount(1, 1)


def test_layout_comments_prints_and_order_are_free(file) -> None:
    first, second = file.mended.split("    def g")
    swapped = first.replace("class A:  # odd", "class A:\n    def g" + second.rstrip() + "\n")
    assert counted(file, swapped) == EditCount(3, 3)
    said = file.mended.replace("        return w", "        print(w)\n\n        return w  # done")
    assert counted(file, said) == EditCount(3, 3)
    assert counted(file, file.source) == EditCount(0, 0)


def test_what_is_elsewhere_counts_against_it(file) -> None:
    text = file.mended.replace("y = x + 1", "y = 1 + x")
    assert counted(file, text) == EditCount(5, 3)
    assert counted(file, file.source.replace("y = x + 1", "y = 1 + x")) == EditCount(2, 0)
    other = file.mended + "\n\ndef helper(x):\n    return x\n"
    assert counted(file, other) == EditCount(5, 3)


def test_names_count(file) -> None:
    renamed = file.mended.replace("w", "result")
    edit = counted(file, renamed)
    assert edit is not None
    assert edit.changed == 7
    assert edit.inside == 3


def test_another_mend_may_take_a_few_statements_more(file) -> None:
    lines = "".join(f"        z = z + {n}\n" for n in range(MORE))
    text = file.without("twice").replace("        z = y * 2\n", f"        z = y\n{lines}")
    assert counted(file, text) == EditCount(2 + MORE, 2 + MORE)
    much = "".join(f"        z = z + {n}\n" for n in range(40))
    text = file.without("twice").replace("        z = y * 2\n", f"        z = y\n{much}")
    assert counted(file, text) == EditCount(42, 2 + MORE)


def test_a_file_that_cannot_be_parsed_has_no_count(file) -> None:
    assert counted(file, "def f(:\n") is None
    assert counted(file, "(" * 5000) is None
    assert counted(file, "\0") is None


def test_the_lines_of_a_bug_are_those_it_changed(file) -> None:
    source = file.source.splitlines()
    ((first, last),) = file.lines("twice")
    assert source[first - 1 : last] == ["        z = y * 3"]
    ((first, last),) = file.lines("lost")
    assert source[first - 1 : last] == ["        self.n = x", "        return self.n"]
