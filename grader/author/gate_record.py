"""What the gate found in a challenge, kept in `recorded/checked.json` until anything that it rests on changes.

The gate takes minutes and comes out the same for the same files.  `kvdojo check --changed` runs it where something has
changed since it was passed, and tells the rest from these records:

    digest = gate_digest(challenge, sets=60)         # before the gate: what changes meanwhile was not checked
    report = passed_before(challenge, digest)        # None: nothing is known of these very files
    if report is None:
        report = check_challenge(challenge, sets=60)
        note(challenge, report, digest)              # if nothing was wrong

Anything is: a file of the challenge, one that its driver reads, a reference, a kernel, a file known to be right, the
part of the engine that the gate runs, or the release of torch or Triton.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from grader.author.gate import Report
from grader.author.random_checks import RandomReport
from grader.content import Challenge
from grader.ground.files import write_atomically
from grader.ground.strict_json import parse_strict

ENGINE = Path(__file__).resolve().parents[1]
ROOMS = ("ground", "kit", "content", "sandbox", "judge", "diagnose", "author", "schemas")
PACKAGES = ("torch", "triton", "numpy")


def passed_before(challenge: Challenge, digest: str) -> Report | None:
    """Return what the gate found when files with this `gate_digest` passed it; None if none did.

    A record that cannot be read is none.
    """
    try:
        found: Any = parse_strict(challenge.checked.read_text("utf-8"))
        if found["made_from"] != digest:
            return None
        random = found["random"]
        return Report(
            challenge.id,
            bugs=int(found["bugs"]),
            decoys=int(found["decoys"]),
            cases=int(found["cases"]),
            margin=None if found["margin"] is None else float(found["margin"]),
            weakest=str(found["weakest"]),
            random=random and RandomReport(int(random["bugs"]), list(map(int, random["refused"]))),
            unchanged=True,
        )
    except (OSError, KeyError, TypeError, ValueError):
        return None


def note(challenge: Challenge, report: Report, digest: str) -> None:
    """Keep a report without violations on files with this `gate_digest`."""
    assert not report.violations, "only what passed is kept"
    document = {
        "made_from": digest,
        "bugs": report.bugs,
        "decoys": report.decoys,
        "cases": report.cases,
        "margin": report.margin,
        "weakest": report.weakest,
        "random": report.random
        and {"bugs": report.random.bugs, "refused": list(report.random.refused)},
    }
    write_atomically(challenge.checked, (json.dumps(document, indent=1) + "\n").encode())


def gate_digest(challenge: Challenge, *, sets: int) -> str:
    """Digest all that the gate's findings rest on, as it is on the disk now; `sets` are those of `check_challenge`.

    Raises ContentError where a file that the driver reads is missing.
    """
    total = sha256(f"{sets}\0{_engine()}\0".encode() + challenge.reads_digest)
    root = challenge.root
    right = root / "tests" / "correct" / challenge.id
    for path in (challenge.reference, challenge.oracle):
        total.update(sha256(path.read_bytes()).digest())
    for folder in (challenge.folder, root / "reference", root / "kernels", right):
        total.update(f"{folder.relative_to(root)}\n".encode())
        for path in _files(folder):
            if path != challenge.checked:
                total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
                total.update(sha256(path.read_bytes()).digest())
    return total.hexdigest()


@lru_cache
def _engine() -> str:
    """Digest the engine and the packages once: they are what this process began with."""
    total = sha256()
    for name in PACKAGES:
        try:
            release = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            release = ""
        total.update(f"{name} {release}\n".encode())
    for path in (path for room in ROOMS for path in _files(ENGINE / room)):
        total.update(path.relative_to(ENGINE).as_posix().encode() + b"\0")
        total.update(sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Give the files of a folder in a fixed order, without hidden ones and what Python compiled."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(x.startswith(".") or x == "__pycache__" for x in parts):
            yield path
