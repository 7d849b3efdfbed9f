"""The files that a challenge's driver reads, as `reads` in `challenge.json` declares them.

A path counts from the root of the checkout, such as `reference/static_cache.py`.  What is declared belongs to the
recipe of every case and to the fingerprint of a batch, and travels in packages; so a file that changes what is asked
cannot change unnoticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path, PurePosixPath

from grader.content.content_errors import ContentError
from grader.ground.files import NotOrdinary, TooLarge, read_ordinary
from grader.ground.limits import MAX_CONTENT_BYTES


def locate_reads(root: Path, names: Iterable[str], source: Path) -> dict[str, Path]:
    """Return the declared files by name; raises ContentError for what lies outside of `root` or behind a link.

    `source` is the file that declares them, for the error.
    """
    return {name: _located(root, name, source) for name in names}


def reads_digest(reads: dict[str, Path], source: Path) -> bytes:
    """Digest of the declared files' names and contents, empty where none is declared; raises ContentError."""
    lines = [f"{name}\0{_digest(path, name, source)}\n" for name, path in sorted(reads.items())]
    return sha256("".join(lines).encode()).digest() if lines else b""


def _located(root: Path, name: str, source: Path) -> Path:
    parts = PurePosixPath(name).parts
    plain = parts and "/".join(parts) == name and not {"..", "/"} & set(parts)
    if not plain or "\\" in name or "\0" in name:
        raise ContentError(
            f"{source}: `reads` names {name!r}: a path from the root of the checkout is expected,"
            " such as 'reference/static_cache.py'"
        )
    path = root.joinpath(*parts)
    if os.path.realpath(path) != os.path.join(os.path.realpath(root), *parts):
        raise ContentError(f"{source}: `reads` names {name!r}, which is or lies behind a link")
    return path


def _digest(path: Path, name: str, source: Path) -> str:
    try:
        return sha256(read_ordinary(path, MAX_CONTENT_BYTES, follow=False)).hexdigest()
    except FileNotFoundError:
        why = "does not exist"
    except NotOrdinary:
        why = "is not an ordinary file"
    except TooLarge:
        why = f"is larger than {MAX_CONTENT_BYTES >> 20} MiB"
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    raise ContentError(f"{source}: `reads` names {name!r}, which {why}")
