"""Find the submissions in whatever a course system hands over: files, folders, archives of either.

One submission is one file of one learner, of the kind the challenge asks for.  What cannot be told or must not
be read becomes a submission with a refusal, so that nobody drops out unseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from grader.batch import names
from grader.batch.leaves import (
    MAX_ARCHIVE,
    Leaf,
    Refused,
    archive_leaves,
    folder_leaves,
    read_file,
    unwrapped,
)
from grader.batch.names import Learner
from grader.ground.limits import MAX_SOURCE_BYTES

OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class Found:
    """One learner's file, or why there is none; `origin` is where it lies below what was searched."""

    learner: Learner
    origin: str
    file: str = ""
    source: bytes = b""
    refusal: str | None = None


def find(root: Path, file: str, skip: Path) -> Iterator[Found]:
    """Yield the submissions below `root`, a folder or a zip archive, leaving out the folder `skip`.

    `file` is the name that the challenge gives to a learner's file.  Raises Refused when `root` itself is of no use.
    """
    leaves = folder_leaves(root, skip) if root.is_dir() else [_sole(root)]
    kind = PurePosixPath(file).suffix
    for learner, group in sorted(_groups(_opened(leaves, kind), kind).items()):
        yield _submission(learner, group, file)


def _sole(path: Path) -> Leaf:
    if path.suffix.lower() != ".zip":
        raise Refused(f"{path.name!r} is neither a folder nor a zip archive")
    return Leaf((path.name,), lambda limit: read_file(path, limit), archive=path)


def _opened(leaves: list[Leaf], kind: str) -> list[Leaf]:
    """Open a course system's archive and leave out folders that only wrap all the others."""
    if len(leaves) == 1 and leaves[0].archive is not None:
        try:
            inside = archive_leaves(leaves[0].archive, bulk=True)
        except Refused:
            return leaves  # told as that one submission's fault
        if any(len(leaf.parts) > 1 for leaf in inside) or len(inside) > 1:
            leaves = inside
    while _wraps(leaves, kind):
        leaves = list(unwrapped(leaves))
    return leaves


def _wraps(leaves: list[Leaf], kind: str) -> bool:
    """Say whether all files lie in one folder that is not a learner's own."""
    firsts = {leaf.parts[0] for leaf in leaves}
    if len(firsts) != 1 or any(len(leaf.parts) < 2 for leaf in leaves):
        return False
    below = {leaf.parts[1] for leaf in leaves if len(leaf.parts) > 2 or _counts(leaf, kind)}
    return len(below) > 1 and not names.is_personal(*firsts)


def _groups(leaves: list[Leaf], kind: str) -> dict[Learner, list[Leaf]]:
    """Collect each learner's files; other files beside the submissions are left alone."""
    prefix = names.common_prefix(leaf.parts[0] for leaf in leaves if len(leaf.parts) > 1)
    groups: dict[Learner, list[Leaf]] = {}
    for leaf in leaves:
        if len(leaf.parts) > 1:
            learner = names.of_folder(leaf.parts[0].removeprefix(prefix) or leaf.parts[0])
        else:
            learner, rest = names.of_file(leaf.name)
            if not (_counts(leaf, kind) or rest != leaf.name):
                continue
        groups.setdefault(learner, []).append(leaf)
    return groups


def _counts(leaf: Leaf, kind: str) -> bool:
    suffixes = (kind, ".zip", *OTHER_ARCHIVES)
    return leaf.name.lower().endswith(suffixes) or leaf.refusal is not None


def _submission(learner: Learner, group: list[Leaf], file: str) -> Found:
    origin = str(PurePosixPath(*group[0].parts[: max(1, len(group[0].parts) - 1)]))
    found = Found(learner, origin)
    try:
        leaf = _pick(_expanded(group), file)
        origin = str(PurePosixPath(*leaf.parts))
        found = replace(found, origin=origin, file=names.of_file(leaf.name)[1])
        return replace(found, source=_read(leaf, MAX_SOURCE_BYTES, "a submission"))
    except Refused as refused:
        return replace(found, refusal=str(refused))


def _expanded(group: list[Leaf]) -> list[Leaf]:
    """Return the learner's files with those in zip archives, one level deep."""
    found: list[Leaf] = []
    for leaf in group:
        if leaf.spoils:
            raise Refused(f"the archive's member {leaf.refusal}")
        if not leaf.name.lower().endswith(".zip"):
            found.append(leaf)
            continue
        inside = archive_leaves(_read(leaf, MAX_ARCHIVE, "an archive"))
        found += [replace(item, parts=(*leaf.parts, *item.parts)) for item in inside]
    return found


def _read(leaf: Leaf, most: int, what: str) -> bytes:
    data = leaf.read(most + 1)
    if len(data) > most:
        raise Refused(f"{leaf.name!r} is larger than {most >> 10} KiB: too large for {what}")
    return data


def _pick(leaves: list[Leaf], file: str) -> Leaf:
    """Choose the file to grade: by its name, else the only one of its kind."""
    stem, kind = Path(file).stem, Path(file).suffix
    fitting = [leaf for leaf in leaves if leaf.name.lower().endswith(kind)]
    # course systems and browsers number what is handed in twice: "name-1.py", "name (1).py"
    pattern = rf"(?:.*_)?{re.escape(stem)}(?:[-_ ]?\(?\d+\)?)?{re.escape(kind)}"
    numbered = re.compile(pattern, re.IGNORECASE)
    exact = [leaf for leaf in fitting if names.of_file(leaf.name)[1] == file]
    near = [leaf for leaf in fitting if numbered.fullmatch(leaf.name)]
    for choice in (_shallowest(exact), near, fitting):
        if len(choice) == 1:
            return choice[0]
    if fitting:
        shown = ", ".join(sorted(leaf.name for leaf in (exact or fitting))[:4])
        raise Refused(
            f"which of {len(exact or fitting)} {_kind(file)} files counts cannot be told: {shown}"
        )
    raise Refused(_nothing(leaves, file))


def _kind(file: str) -> str:
    return "Python" if file.endswith(".py") else Path(file).suffix.removeprefix(".").upper()


def _shallowest(leaves: list[Leaf]) -> list[Leaf]:
    depth = min((len(leaf.parts) for leaf in leaves), default=0)
    return [leaf for leaf in leaves if len(leaf.parts) == depth]


def _nothing(leaves: list[Leaf], file: str) -> str:
    for leaf in leaves:
        if leaf.refusal:
            return leaf.refusal
        if leaf.name.lower().endswith((*OTHER_ARCHIVES, ".zip")):
            return f"{leaf.name!r} is not opened: only zip archives are, one level deep"
    return f"there is no {_kind(file)} file; {file} was expected"
