"""One digest of everything a verdict depends on: the challenge, its oracle, and the engine itself.

Two machines, or two runs of one batch, judge alike only where it is equal.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from grader.content import Challenge

ENGINE = Path(__file__).resolve().parents[1]
NO_VERDICT = ("brief.md", "checked.json")  # files of a challenge that no verdict depends on
PARTS = ("ground", "kit", "content", "judge", "sandbox", "schemas")  # rooms a verdict depends on


def fingerprint(challenge: Challenge) -> str:
    """Digest a challenge, what its driver reads, its oracle and the engine as they are on this machine now.

    Raises ContentError where a file that the driver reads is missing.
    """
    files = [path for path in challenge.folder.rglob("*") if _is_content(path)]
    named = {f"challenge/{path.relative_to(challenge.folder).as_posix()}": path for path in files}
    named |= {"reference": challenge.reference, "oracle": challenge.oracle}
    total = sha256(_engine().encode() + challenge.reads_digest)
    for name, path in sorted(named.items()):
        total.update(f"{name}\0{sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


@lru_cache
def _engine() -> str:
    """Digest the engine once: what this process runs is what was on disk when it began."""
    total = sha256()
    paths = [path for part in PARTS for path in (ENGINE / part).rglob("*") if path.is_file()]
    for path in sorted(paths):
        if path.suffix in (".py", ".json"):
            total.update(path.relative_to(ENGINE).as_posix().encode() + b"\0")
            total.update(sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _is_content(path: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts[-2:])
    return path.is_file() and not hidden and path.name not in NO_VERDICT
