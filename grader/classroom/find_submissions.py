"""Find the submissions in whatever a course system hands over: files, folders, archives of either.

One submission is one file of one learner, of the kind the challenge asks for.  Where it is not clear which file counts,
or where a file must not be read, there is a submission with a refusal, so that no learner drops out unnoticed.  Who a
submission is from is read off the names that course systems give to folders and files.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from grader.classroom.archive_entries import (
    MAX_ARCHIVE,
    FileEntry,
    SubmissionRefused,
    archive_entries,
    folder_entries,
    read_file,
    without_first_folder,
)
from grader.ground.limits import MAX_SOURCE_BYTES

OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")
# "Jane Doe_1234567_assignsubmission_file_", and with the file's name behind it where all lie in one folder
MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<rest>.*)"
)
# "doejane_LATE_12345_678901_kv_attention-1.py"
CANVAS = re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<number>\d+)_\d+_(?P<rest>.+)")


@dataclass(frozen=True, order=True)
class Learner:
    """A name for people, and the number by which the course system distinguishes two learners of that name."""

    name: str
    number: str = ""


@dataclass(frozen=True)
class FoundSubmission:
    """One learner's file, or why there is none; `origin` is where it lies below what was searched."""

    learner: Learner
    origin: str
    file: str = ""
    source: bytes = b""
    refusal: str | None = None


def find_submissions(root: Path, file: str, skip: Path) -> Iterator[FoundSubmission]:
    """Yield the submissions below `root`, a folder or a zip archive, leaving out the folder `skip`.

    `file` is the name that the challenge gives to a learner's file.  Raises SubmissionRefused when `root` itself is of
    no use.
    """
    entries = folder_entries(root, skip) if root.is_dir() else [_only_entry(root)]
    kind = PurePosixPath(file).suffix
    for learner, group in sorted(_by_learner(_opened(entries, kind), kind).items()):
        yield _submission(learner, group, file)


def _only_entry(path: Path) -> FileEntry:
    if path.suffix.lower() != ".zip":
        raise SubmissionRefused(f"{path.name!r} is neither a folder nor a zip archive")
    return FileEntry((path.name,), lambda limit: read_file(path, limit), archive=path)


def _opened(entries: list[FileEntry], kind: str) -> list[FileEntry]:
    """Open a course system's archive and leave out folders that only wrap all the others."""
    if len(entries) == 1 and entries[0].archive is not None:
        try:
            inside = archive_entries(entries[0].archive, bulk=True)
        except SubmissionRefused:
            return entries  # refused as one submission
        if any(len(entry.parts) > 1 for entry in inside) or len(inside) > 1:
            entries = inside
    while _is_wrapper(entries, kind):
        entries = list(without_first_folder(entries))
    return entries


def _is_wrapper(entries: list[FileEntry], kind: str) -> bool:
    """Whether all files lie in one folder that is not a learner's own."""
    firsts = {entry.parts[0] for entry in entries}
    if len(firsts) != 1 or any(len(entry.parts) < 2 for entry in entries):
        return False
    below = {
        entry.parts[1]
        for entry in entries
        if len(entry.parts) > 2 or _may_be_submission(entry, kind)
    }
    return len(below) > 1 and not is_one_learners_folder(*firsts)


def _by_learner(entries: list[FileEntry], kind: str) -> dict[Learner, list[FileEntry]]:
    """Collect each learner's files; other files beside the submissions are left alone."""
    prefix = common_folder_prefix(entry.parts[0] for entry in entries if len(entry.parts) > 1)
    groups: dict[Learner, list[FileEntry]] = {}
    for entry in entries:
        if len(entry.parts) > 1:
            learner = learner_of_folder(entry.parts[0].removeprefix(prefix) or entry.parts[0])
        else:
            learner, rest = learner_of_file(entry.name)
            if not (_may_be_submission(entry, kind) or rest != entry.name):
                continue
        groups.setdefault(learner, []).append(entry)
    return groups


def _may_be_submission(entry: FileEntry, kind: str) -> bool:
    suffixes = (kind, ".zip", *OTHER_ARCHIVES)
    return entry.name.lower().endswith(suffixes) or entry.refusal is not None


def _submission(learner: Learner, group: list[FileEntry], file: str) -> FoundSubmission:
    origin = str(PurePosixPath(*group[0].parts[: max(1, len(group[0].parts) - 1)]))
    found = FoundSubmission(learner, origin)
    try:
        entry = _pick(_with_archives_opened(group), file)
        origin = str(PurePosixPath(*entry.parts))
        found = replace(found, origin=origin, file=learner_of_file(entry.name)[1])
        return replace(found, source=_read_within(entry, MAX_SOURCE_BYTES, "a submission"))
    except SubmissionRefused as refused:
        return replace(found, refusal=str(refused))


def _with_archives_opened(group: list[FileEntry]) -> list[FileEntry]:
    """Return the learner's files with those in zip archives, one level deep."""
    found: list[FileEntry] = []
    for entry in group:
        if entry.poisons_archive:
            raise SubmissionRefused(f"the archive's member {entry.refusal}")
        if not entry.name.lower().endswith(".zip"):
            found.append(entry)
            continue
        inside = archive_entries(_read_within(entry, MAX_ARCHIVE, "an archive"))
        found += [replace(item, parts=(*entry.parts, *item.parts)) for item in inside]
    return found


def _read_within(entry: FileEntry, most: int, what: str) -> bytes:
    data = entry.read(most + 1)
    if len(data) > most:
        raise SubmissionRefused(
            f"{entry.name!r} is larger than {most >> 10} KiB: too large for {what}"
        )
    return data


def _pick(entries: list[FileEntry], file: str) -> FileEntry:
    """Choose the file to grade: by its name, else the only one of its kind."""
    stem, kind = Path(file).stem, Path(file).suffix
    fitting = [entry for entry in entries if entry.name.lower().endswith(kind)]
    # course systems and browsers number what is handed in twice: "name-1.py", "name (1).py"
    pattern = rf"(?:.*_)?{re.escape(stem)}(?:[-_ ]?\(?\d+\)?)?{re.escape(kind)}"
    numbered = re.compile(pattern, re.IGNORECASE)
    exact = [entry for entry in fitting if learner_of_file(entry.name)[1] == file]
    near = [entry for entry in fitting if numbered.fullmatch(entry.name)]
    for choice in (_shallowest(exact), near, fitting):
        if len(choice) == 1:
            return choice[0]
    if fitting:
        shown = ", ".join(sorted(entry.name for entry in (exact or fitting))[:4])
        raise SubmissionRefused(
            f"it is not clear which of {len(exact or fitting)} {kind_of_file(file)} files counts: {shown}"
        )
    raise SubmissionRefused(_why_none(entries, file))


def kind_of_file(file: str) -> str:
    """Return what messages call files of this kind: `Python`, `JSON`."""
    return "Python" if file.endswith(".py") else Path(file).suffix.removeprefix(".").upper()


def _shallowest(entries: list[FileEntry]) -> list[FileEntry]:
    depth = min((len(entry.parts) for entry in entries), default=0)
    return [entry for entry in entries if len(entry.parts) == depth]


def _why_none(entries: list[FileEntry], file: str) -> str:
    for entry in entries:
        if entry.refusal:
            return entry.refusal
        if entry.name.lower().endswith((*OTHER_ARCHIVES, ".zip")):
            return f"{entry.name!r} is not opened: only zip archives are, one level deep"
    return f"there is no {kind_of_file(file)} file; {file} was expected"


def learner_of_folder(name: str) -> Learner:
    """Return whose folder this is: Moodle's names, else the folder's own (Gradescope, Classroom, by hand)."""
    match = MOODLE.fullmatch(name)
    return Learner(match["name"], match["number"]) if match else Learner(name)


def learner_of_file(name: str) -> tuple[Learner, str]:
    """Return whose file this is, and the name that the learner gave to it."""
    for pattern in (MOODLE, CANVAS):
        match = pattern.fullmatch(name)
        if match and match["rest"]:
            return Learner(match["name"], match["number"]), match["rest"]
    return Learner(os.path.splitext(name)[0]), name


def is_one_learners_folder(name: str) -> bool:
    """Whether a folder's name can only be one learner's."""
    return MOODLE.fullmatch(name) is not None


def common_folder_prefix(folders: Iterable[str]) -> str:
    """Return what GitHub Classroom puts before every learner's name: the assignment and a dash."""
    names = sorted(set(folders))
    if len(names) < 3:
        return ""
    first, last = names[0], names[-1]  # sorted: what these two share, all share
    shared = next(
        (at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]),
        len(first),
    )
    return first[: first[:shared].rfind("-") + 1]


def learner_slug(learner: Learner) -> str:
    """Return the learner as part of a file name: portable, never empty, never hidden, at most 60 letters."""
    text = "-".join(filter(None, (learner.name, learner.number)))
    # letters without their accents are still readable
    letters = "".join(
        c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
    )
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", letters).strip("-._")
    return plain[:60].rstrip("-._") or "learner"
