"""A whole challenge to begin with: one attention head with a cache, small, and such that the author's gate accepts it.

Written is what an author writes, and the schema of the cases for the editor. The rest of `recorded/` (golden,
witnesses, starter) is made by `kvdojo check --record`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from grader.author.recording import schema_bytes
from grader.content import Catalogue, Challenge
from grader.content.cases_schema import validate_challenge
from grader.ground.errors import Exit, KvdojoError
from grader.ground.files import write_atomically

FILES = (
    "challenge.json",
    "brief.md",
    "cases.json",
    "bugs.json",
    "impostors.json",
    "driver.py",
)
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class CannotMake(KvdojoError):
    """A scaffold that cannot be written; the text is one line ending with what to do."""

    exit_code = Exit.USAGE


def scaffold(name: str, root: Path) -> Challenge:
    """Write `challenges/NAME` and `reference/NAME.py` under `root`, both or neither; raises CannotMake and OSError."""
    if not NAME.fullmatch(name):
        raise CannotMake(
            f"{name[:80]!r} is no id: use small letters, digits and `_`, a letter first, 64 at most."
        )
    folder, reference = root / "challenges" / name, root / "reference" / f"{name}.py"
    for path in (folder, reference):
        if os.path.lexists(path):
            raise CannotMake(f"{path} exists: choose another id, or remove it first.")
    words = {"id": name, "title": name.replace("_", " ").capitalize(), "file": f"{name}.py"}
    made = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=root))
    try:
        for file in FILES:
            (made / file).write_text(_render(file, words), "utf-8")
        made.chmod(0o755)
        folder.parent.mkdir(exist_ok=True)
        write_atomically(reference, _render("reference.py", words))
        made.rename(folder)
        challenge = Catalogue(root).load(name)
        write_atomically(challenge.cases_schema, schema_bytes(challenge))
        validate_challenge(challenge)
    except BaseException:
        with suppress(OSError):
            reference.unlink()
        for half_written in (made, folder):
            shutil.rmtree(half_written, ignore_errors=True)
        raise
    return challenge


def _render(file: str, words: dict[str, str]) -> str:
    templates = Environment(
        loader=PackageLoader("grader", "templates/challenge"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Python and JSON, not HTML; the words are checked ids
    )
    return templates.get_template(f"{file}.j2").render(words)
