"""What a course system needs to grade by itself: an autograder zip, a workflow, a Dockerfile.

The same checkout gives the same bytes. Nothing is run here, and no results are read.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from grader.content import Challenge
from grader.content.handed_in import NOTEBOOK

TOP = ("LICENSE", "README.md", "constraints.txt", "pyproject.toml")
PACKAGES = ("grader", "kernels", "reference")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold
FILE, PROGRAM = 0o100644, 0o100755


@dataclass(frozen=True)
class Package:
    """A file to write: its usual name, its bytes, and what to do with it, in one line."""

    name: str
    content: bytes
    use: str


def make(kind: str, challenge: Challenge) -> Package:
    """Return the package of a kind: autograder, workflow or dockerfile."""
    makers: dict[str, Callable[[Challenge], Package]] = {
        "autograder": autograder,
        "workflow": workflow,
        "dockerfile": dockerfile,
    }
    return makers[kind](challenge)


def autograder(challenge: Challenge) -> Package:
    """Return Gradescope's zip: its two scripts, the answers they may give early, and this engine."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in ("setup.sh", "run_autograder"):
            _add(archive, name, _render(f"gradescope/{name}.j2", challenge), PROGRAM)
        for name in ("not-graded.json", "unusable.json"):
            _add(archive, name, _render(f"gradescope/{name}.j2", challenge), FILE)
        _add_engine(archive, challenge)
    use = "upload it under Configure Autograder, base image Ubuntu 24.04, 1.5 GB of memory or more"
    return Package(f"{challenge.id}-autograder.zip", stream.getvalue(), use)


def engine(challenge: Challenge) -> bytes:
    """Return a zip of this engine and of what grading one challenge needs."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add_engine(archive, challenge)
    return stream.getvalue()


def _add_engine(archive: zipfile.ZipFile, challenge: Challenge) -> None:
    root = challenge.root
    for path in sorted(_content(challenge, root)):
        _add(archive, path.relative_to(root).as_posix(), path.read_bytes(), FILE)


def workflow(challenge: Challenge) -> Package:
    """Return a workflow that grades a learner's repository on every push."""
    use = "put it in the template repository as .github/workflows/kvdojo.yml"
    return Package("kvdojo.yml", _render("workflow.yml.j2", challenge), use)


def dockerfile(challenge: Challenge) -> Package:
    """Return a Dockerfile to be built in this checkout."""
    return Package("Dockerfile", _render("Dockerfile.j2", challenge), "its first lines say how")


def _render(name: str, challenge: Challenge) -> bytes:
    return rendered(
        name,
        id=challenge.id,
        file=challenge.file,
        suffix=Path(challenge.file).suffix,
        notebook=Path(challenge.file).with_suffix(NOTEBOOK).name,
        title=challenge.title,
        reads=_reads(challenge),
    )


def rendered(name: str, **words: Any) -> bytes:
    """Return what a template that is no page makes of these values; they must be all it names."""
    # double braces belong to workflows, so templates use double square brackets
    made = Environment(
        loader=PackageLoader("grader", "templates"),
        undefined=StrictUndefined,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    return made.get_template(name).render(words).encode()


def _reads(challenge: Challenge) -> list[str]:
    """Return the files its driver reads that no folder of the package holds already."""
    held = (*PACKAGES, f"challenges/{challenge.id}")
    return [
        name
        for name in sorted(challenge.reads)
        if not name.startswith(tuple(f"{n}/" for n in held))
    ]


def _content(challenge: Challenge, root: Path) -> Iterator[Path]:
    """The files grading one challenge needs; compiled and hidden ones are left out."""
    folders = [*(root / name for name in PACKAGES), challenge.folder]
    yield from (root / name for name in TOP)
    yield root / "challenges" / "__init__.py"
    yield from (challenge.reads[name] for name in _reads(challenge))
    for folder in folders:
        for path in folder.rglob("*"):
            hidden = any(
                part.startswith((".", "__pycache__")) for part in path.parts[len(root.parts) :]
            )
            if path.is_file() and not hidden:
                yield path


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system = 3  # Unix, whatever made it, so that the mode counts
    entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
