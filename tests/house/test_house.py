"""The order of the house: rooms import from rooms below them only, never in circles, and no module name is there twice.

Imports are read, not run, so those inside functions count as well.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from house.imports import Arrow, arrows_of, circles_of, modules_of, room_of, upward

ROOT = Path(__file__).resolve().parents[2]

# the rooms from the ground up; those on one line stand beside each other and do not import each other
ORDER = (
    ("grader.ground",),
    ("grader.kit",),
    ("grader.content",),
    ("grader.sandbox",),
    ("grader.judge",),
    ("grader.diagnose",),
    ("grader.author", "grader.classroom"),
    ("grader.arena",),
    ("grader.report",),
    ("grader.learner",),
    ("grader.studio",),
    ("grader.cli",),
    ("grader.pytest_plugin", "grader.__main__"),
)
FLOORS = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms} | {"grader": -1}


@pytest.fixture(scope="module")
def modules() -> dict[str, Path]:
    return modules_of(ROOT, "grader")


@pytest.fixture(scope="module")
def arrows(modules: dict[str, Path]) -> list[Arrow]:
    return arrows_of(modules)


def test_every_module_stands_in_a_room(modules: dict[str, Path]) -> None:
    assert [
        name for name in modules if name != "grader" and room_of(name, FLOORS) == "grader"
    ] == []


def test_no_room_imports_from_a_room_above_it(arrows: list[Arrow]) -> None:
    wrong = upward(arrows, FLOORS)
    assert not wrong, "\n".join(map(str, wrong))


def test_no_import_runs_in_a_circle(arrows: list[Arrow]) -> None:
    circles = circles_of(arrows)
    assert not circles, "\n\n".join("\n".join(map(str, circle)) for circle in circles)


def test_module_names_are_unique(modules: dict[str, Path]) -> None:
    names = Counter(path.stem for path in modules.values() if path.stem[:2] != "__")
    twice = {path.stem for path in modules.values() if names[path.stem] > 1}
    where = [name for name in modules if name.rpartition(".")[2] in twice]
    assert not twice, "\n".join(where)


def _package(root: Path, files: dict[str, str]) -> list[Arrow]:
    for name, text in files.items():
        path = root / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    (root / "house" / "__init__.py").touch()
    return arrows_of(modules_of(root, "house"))


@pytest.mark.parametrize(
    "text",
    [
        "import house.attic.roof",
        "from house.attic import roof",
        "from house.attic.roof import tiles",
        "from ..attic import roof",
        "def f():\n    from house.attic import roof",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.attic.roof import tiles",
        "from importlib import import_module\nimport_module('house.attic.roof')",
    ],
)
def test_an_import_from_above_is_seen_however_it_is_written(tmp_path: Path, text: str) -> None:
    floors = {"house": -1, "house.cellar": 0, "house.attic": 1}
    arrows = _package(tmp_path, {"cellar/coal.py": text, "attic/roof.py": ""})
    (wrong,) = upward(arrows, floors)
    assert (wrong.source, wrong.target) == ("house.cellar.coal", "house.attic.roof")
    assert str(wrong).startswith(f"house.cellar.coal:{text.count(chr(10)) + 1} imports")
    down = _package(
        tmp_path / "down", {"cellar/coal.py": "", "attic/roof.py": "from ..cellar import coal"}
    )
    assert upward(down, floors) == []


def test_rooms_beside_each_other_do_not_import_each_other(tmp_path: Path) -> None:
    arrows = _package(tmp_path, {"east/bed.py": "from house.west import sofa", "west/sofa.py": ""})
    assert len(upward(arrows, {"house": -1, "house.east": 1, "house.west": 1})) == 1


def test_a_circle_is_told_arrow_by_arrow(tmp_path: Path) -> None:
    files = {
        "a/one.py": "from house.a import two",
        "a/two.py": "def f():\n    from house.a.three import g",
        "a/three.py": "import house.a.one",
        "a/four.py": "from house.a import one, two",
    }
    (circle,) = circles_of(_package(tmp_path, files))
    names = [arrow.source.rpartition(".")[2] for arrow in circle]
    assert sorted(names) == ["one", "three", "two"]
    assert [arrow.target for arrow in circle[:-1]] == [arrow.source for arrow in circle[1:]]
    files["a/three.py"] = ""
    assert circles_of(_package(tmp_path, files)) == []
