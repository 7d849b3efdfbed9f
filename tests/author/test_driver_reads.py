"""What a driver reads is declared: it belongs to goldens and fingerprints, and the gate finds what is left out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grader.author import static_checks
from grader.author.driver_reads import files_opened, undeclared_reads
from grader.author.recording import reload
from grader.classroom.fingerprint import fingerprint
from grader.cli.main import main
from grader.content import Catalogue, Challenge, ContentError, load_challenge
from grader.judge import grade_source
from grader.report.packages import autograder, dockerfile
from grader.sandbox import Sandbox

Make = Callable[..., Challenge]
TABLE = "challenges/other/table.json"
DRAW = "    return case.draw(tokens, case.d)\n"
WAYS = {
    "when it is loaded": ("", f"ROOT.joinpath({TABLE!r}).read_text()\n"),
    "with open": (f"    open(ROOT / {TABLE!r}).close()\n", ""),
    "with os.open": (f"    os.close(os.open(ROOT / {TABLE!r}, os.O_RDONLY))\n", ""),
    "with numpy": (f"    import numpy; numpy.fromfile(ROOT / {TABLE!r}, dtype='u1')\n", ""),
    "through a path with dots": (f"    open(ROOT / 'reference/../{TABLE}').close()\n", ""),
    "through a link": ("    open(ROOT / 'link.json').close()\n", ""),
    "as bytes": (f"    open(bytes(ROOT / {TABLE!r})).close()\n", ""),
}


def reading(way: str) -> Callable[[dict[str, Any]], None]:
    """Make the driver read a file in one of the ways."""
    at_draw, at_load = WAYS[way]
    head = (
        "import os\nfrom pathlib import Path\n"
        # a worker has the text of a driver, but no file to look beside
        "ROOT = (Path('/a/b/c') / __file__).parents[2]\n"
    )
    if at_load:
        head += f"if Path(__file__).is_absolute():\n    {at_load}"

    def spoil(files: dict[str, Any]) -> None:
        text = files["driver.py"].replace(DRAW, at_draw + DRAW)
        assert DRAW in text
        files["driver.py"] = text.replace("\n\nclass Setup:", f"\n{head}\n\nclass Setup:")

    return spoil


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of another challenge, and a link to it."""
    path = tmp_path / TABLE
    path.parent.mkdir(parents=True)
    path.write_text("[1, 2, 3]")
    (tmp_path / "link.json").symlink_to(path)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_an_undeclared_file_is_found_however_it_is_read(way: str, make: Make, table: Path) -> None:
    challenge = make(reading(way), recorded=False)
    assert undeclared_reads(challenge) == [TABLE]
    texts = [v.text for v in static_checks.check(challenge) if v.subject == "driver.py"]
    assert texts == [
        f"opens {TABLE!r}, which challenge.json does not name under `reads`; add it there"
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_declared_file_is_no_fault(way: str, make: Make, table: Path) -> None:
    def spoil(files: dict[str, Any]) -> None:
        reading(way)(files)
        files["challenge.json"]["reads"] = [TABLE]

    challenge = make(spoil)
    assert undeclared_reads(challenge) == []
    assert static_checks.check(challenge) == []


def test_an_imported_module_of_the_checkout_is_found(make: Make, tmp_path: Path) -> None:
    def spoil(files: dict[str, Any]) -> None:
        files["driver.py"] = (
            "import sys\nfrom pathlib import Path\n"
            "sys.path.insert(0, str(Path(__file__).parents[2] / 'reference'))\n"
            "import numbers_of_tiny\nsys.path.pop(0)\n" + files["driver.py"]
        )

    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "numbers_of_tiny.py").write_text("ONE = 1\n")
    challenge = make(spoil, recorded=False)
    assert undeclared_reads(challenge) == ["reference/numbers_of_tiny.py"]


def test_other_threads_and_later_reads_are_not_noted(table: Path) -> None:
    with files_opened() as opened:
        table.read_text()
    table.read_text()
    assert opened == [str(table)]


def test_editing_a_read_file_changes_the_fingerprint_and_makes_the_golden_unusable(
    make: Make, table: Path, tiny_sandbox: Sandbox
) -> None:
    def spoil(files: dict[str, Any]) -> None:
        files["challenge.json"]["reads"] = [TABLE]

    challenge = make(spoil)
    source = challenge.reference.read_bytes()
    assert grade_source(challenge, source, sandbox=tiny_sandbox).verdict == "passed"
    before = fingerprint(challenge)

    table.write_text("[1, 2, 4]")

    challenge = reload(challenge)
    assert fingerprint(challenge) != before
    with pytest.raises(ContentError, match=r"has changed since; run `.*check tiny --record`"):
        grade_source(challenge, source, sandbox=tiny_sandbox)
    subjects = {v.subject for v in static_checks.check(challenge)}
    assert subjects == {"recorded/witnesses.json"}

    table.write_text("[1, 2, 3]")
    assert fingerprint(reload(challenge)) == before


REFUSED = {
    "../outside.json": "a path from the root of the checkout",
    "/etc/passwd": "a path from the root of the checkout",
    "challenges/../other.json": "a path from the root of the checkout",
    "./other.json": "a path from the root of the checkout",
    "challenges//other.json": "a path from the root of the checkout",
    "a\\b": "a path from the root of the checkout",
    "a\0b": "a path from the root of the checkout",
    "": "a path from the root of the checkout",
    "link.json": "is or lies behind a link",
    "folder/table.json": "is or lies behind a link",
    "none.json": "does not exist",
    "challenges": "is not an ordinary file",
    "pipe": "is not an ordinary file",
    "huge.json": "is larger than 8 MiB",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_ends_in_one_line_and_exit_3(
    name: str, make: Make, table: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "folder").symlink_to(table.parent)
    (tmp_path.parent / "outside.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge.json").open("wb") as stream:
        stream.truncate((8 << 20) + 1)
    challenge = make()
    path = challenge.folder / "challenge.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "reads": [name]}))

    code = main(["grade", "tiny", str(challenge.reference)], Catalogue(tmp_path))

    said = capsys.readouterr().err.splitlines()
    assert code == 3
    assert len(said) == 1
    assert REFUSED[name] in said[0]
    assert "challenge.json: `reads` names" in said[0]
    with pytest.raises(ContentError):
        fingerprint(reload(challenge))


def test_packages_hold_what_is_declared_and_no_more_of_other_challenges() -> None:
    import io
    import zipfile

    challenge = load_challenge("broken_test")
    with zipfile.ZipFile(io.BytesIO(autograder(challenge).content)) as archive:
        names = [name for name in archive.namelist() if name.startswith("challenges/static_cache/")]
        assert set(challenge.declared) <= set(archive.namelist())
    assert names == ["challenges/static_cache/bugs.json"]
    copied = [
        line for line in dockerfile(challenge).content.decode().splitlines() if "COPY ch" in line
    ]
    assert copied == [
        "COPY challenges/__init__.py challenges/__init__.py",
        "COPY challenges/broken_test challenges/broken_test",
        "COPY challenges/static_cache/bugs.json challenges/static_cache/bugs.json",
    ]
