"""Find the submissions in whatever a course system hands over: files, folders, archives of either.

One submission is one file of one learner, of the kind the challenge asks for (`kind` below is its suffix, ".py" or
".json").  Where it is not clear which file counts, or where a file must not be read, there is a submission with a
refusal, so that no learner drops out unnoticed.  Who a submission is from is read off the names that course systems
give to folders and files.
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
from grader.content.handed_in import NOTEBOOK, most_bytes

OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")
# "Jane Doe_1234567_assignsubmission_file_", and with the file's name behind it where all lie in one folder
MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<rest>.*)"
)
# "doejane_LATE_12345_678901_kv_attention-1.py"
CANVAS = re.compile(r"(?P<name>[^_]+)_(?:(?i:late)_)?(?P<number>\d+)_\d+_(?P<rest>.+)")
# a second folder or file of one learner, by hand or by a browser: "jdoe_late", "jdoe (1)"
AGAIN = re.compile(r"(?P<name>.+?)(?: \((?P<number>\d{1,3})\)|[_ -](?i:late|resubmission))")
# "Homework 1_jdoe_attempt_2026-11-28-10-15-22_kv_attention.py", and a text file of that name without the last part
BLACKBOARD = re.compile(
    r"(?P<whose>(?:.+_)?(?P<name>[^_]+))_attempt_(?P<when>\d{4}(?:-\d\d){5})(?:_(?P<rest>.+)|\.txt)?"
)
# "123456-789012 - Jane Doe - Nov 28, 2026 1015 AM": a folder of files, or one file, with " - kv_attention.py" behind it
BRIGHTSPACE = re.compile(
    r"(?P<number>\d+)-\d+ - (?P<name>.+?) - "
    r"(?:(?P<month>[A-Z][a-z]{2})[a-z]* (?P<day>\d{1,2})|(?P<day2>\d{1,2}) (?P<month2>[A-Z][a-z]{2})[a-z]*),? "
    r"(?P<year>\d{4}),? (?P<hour>\d{1,2})[:.]?(?P<minute>\d\d)(?: ?(?P<half>[AaPp][Mm]))?(?: - (?P<rest>.+))?"
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, order=True)
class Learner:
    """A name for people, and the number by which the course system distinguishes two learners of that name."""

    name: str
    number: str = ""


@dataclass(frozen=True)
class FoundSubmission:
    """One learner's file, or why there is none; `origin` is where it lies below what was searched.

    `note` says which of several attempts counts.
    """

    learner: Learner
    origin: str
    file: str = ""
    source: bytes = b""
    refusal: str | None = None
    note: str = ""


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
    task = _common_task(entry.parts[0] for entry in entries)
    groups: dict[Learner, list[FileEntry]] = {}
    for entry in entries:
        first = entry.parts[0]
        if len(entry.parts) > 1:
            learner = learner_of_folder(first.removeprefix(prefix) or first)
        else:
            learner, rest = learner_of_file(entry.name)
            if not (_may_be_submission(entry, kind) or rest != entry.name):
                continue
        if match := BLACKBOARD.fullmatch(first):
            learner = Learner(match["whose"].removeprefix(task))
        groups.setdefault(learner, []).append(entry)
    for learner in list(groups):
        match = AGAIN.fullmatch(learner.name)
        own = Learner(match["name"], learner.number) if match else learner
        if own != learner and own in groups:
            groups[own] += groups.pop(learner)
    return groups


def _common_task(names: Iterable[str]) -> str:
    """Return what Blackboard puts before every learner's name, with the line behind it.

    A name may hold a line as well: of "HW_1_jane_doe" and "HW_1_john_doe" it is "HW_1_".  Of one learner alone it is
    all before the last line.
    """
    found = sorted({match["whose"] for name in names if (match := BLACKBOARD.fullmatch(name))})
    if not found:
        return ""
    return _shared_beginning(found[0], found[-1], "_")


def _may_be_submission(entry: FileEntry, kind: str) -> bool:
    suffixes = (*_kinds(kind), ".zip", *OTHER_ARCHIVES)
    return entry.name.lower().endswith(suffixes) or entry.refusal is not None


def _kinds(kind: str) -> tuple[str, ...]:
    """Return the endings of files that can be graded: where Python is asked for, a notebook may be handed in."""
    return (kind, NOTEBOOK) if kind == ".py" else (kind,)


def _submission(learner: Learner, group: list[FileEntry], file: str) -> FoundSubmission:
    """Return the file that counts of all that a learner handed in, or the refusal that says why none does."""
    origin = str(PurePosixPath(*group[0].parts[: max(1, len(group[0].parts) - 1)]))
    found = FoundSubmission(learner, origin)
    try:
        latest, earlier = _newest_attempt(group)
        files = _with_archives_opened(latest)
        entry, older_uploads = _pick(files, file)
        origin = str(PurePosixPath(*entry.parts))
        found = replace(found, origin=origin, file=learner_of_file(entry.name)[1])
        found = replace(found, note=_note(entry, [*earlier, *older_uploads], files))
        return replace(found, source=_read_within(entry, most_bytes(entry.name), "a submission"))
    except SubmissionRefused as refused:
        return replace(found, refusal=str(refused))


def _note(entry: FileEntry, older: list[str], files: list[FileEntry]) -> str:
    """Return what the instructor should know of the choice of a file."""
    if older:
        shown = ", ".join(repr(name) for name in older[:4])
        return f"the newest attempt counts, {entry.name!r}; not {shown}"
    stem = PurePosixPath(entry.name).stem.lower()
    twins = [other.name for other in files if other.name.lower() == stem + NOTEBOOK]
    if twins and not entry.name.lower().endswith(NOTEBOOK):
        return f"{entry.name!r} counts; not the notebook {twins[0]!r}"
    return ""


def _newest_attempt(group: list[FileEntry]) -> tuple[list[FileEntry], list[str]]:
    """Return the files of the newest dated attempt, and the names of the earlier attempts."""
    dated: dict[tuple[int, ...], list[FileEntry]] = {}
    for entry in group:
        dated.setdefault(attempt_time(entry.parts[0]), []).append(entry)
    newest = max(dated)
    return dated[newest], sorted(
        {entry.parts[0] for when, entries in dated.items() if when != newest for entry in entries}
    )


def attempt_time(name: str) -> tuple[int, ...]:
    """Return when a course system says that this was handed in, year first; empty where nothing is said.

    For a name with a mark alone, such as "jdoe (2)" or "jdoe_late", it is something that compares as later than none.

    >>> attempt_time("123-456 - Jane Doe - Nov 28, 2026 115 PM")
    (2026, 11, 28, 13, 15)
    """
    if match := BLACKBOARD.fullmatch(name):
        return tuple(int(part) for part in match["when"].split("-"))
    if match := BRIGHTSPACE.fullmatch(name):
        month = match["month"] or match["month2"]
        hour = int(match["hour"])
        if half := match["half"]:
            hour = hour % 12 + 12 * (half.lower() == "pm")
        number = MONTHS.index(month) + 1 if month in MONTHS else 0
        day = int(match["day"] or match["day2"])
        return int(match["year"]), number, day, hour, int(match["minute"])
    if match := AGAIN.fullmatch(name) or AGAIN.fullmatch(os.path.splitext(name)[0]):
        # behind what bears no mark, before what bears a date
        return (0, int(match["number"])) if match["number"] else (1,)
    return ()


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


def _pick(entries: list[FileEntry], file: str) -> tuple[FileEntry, list[str]]:
    """Choose the file to grade, and name the older uploads of it: by its name, else the only one of its kind.

    Where Python is asked for, a notebook counts if no Python file does.
    """
    kinds = [
        [entry for entry in entries if entry.name.lower().endswith(kind)]
        for kind in _kinds(Path(file).suffix)
    ]
    for fitting in kinds:
        if chosen := _by_name(fitting, Path(file).stem):
            return chosen
    for fitting in kinds:
        if len(fitting) == 1:
            return fitting[0], []
        if fitting:
            exact = [entry for entry in fitting if learner_of_file(entry.name)[1] == file]
            shown = ", ".join(sorted(entry.name for entry in (exact or fitting))[:4])
            what = f"{len(exact or fitting)} {kind_of_file(fitting[0].name)} files"
            raise SubmissionRefused(f"it is not clear which of {what} counts: {shown}")
    raise SubmissionRefused(_why_none(entries, file))


def _by_name(fitting: list[FileEntry], stem: str) -> tuple[FileEntry, list[str]] | None:
    """Choose among files of one kind by the challenge's name for it, and name the older uploads; None if unclear.

    Course systems and browsers number what is handed in again: "name-1.py", "name (1).py".  The highest number is the
    newest, and the name without a number the oldest; one that is called late is newer than the same without.
    """
    uploads: dict[tuple[int, bool], list[FileEntry]] = {}
    for entry in fitting:
        number = _upload_number(entry, stem)
        if number is not None:
            uploads.setdefault(number, []).append(entry)
    if uploads and len({len(entry.parts) for group in uploads.values() for entry in group}) == 1:
        newest = uploads[max(uploads)]
        if len(newest) == 1:
            older = [entry.name for at in sorted(uploads) for entry in uploads[at]]
            return newest[0], [name for name in older if name != newest[0].name]
    exact = [
        entry for entry in fitting if PurePosixPath(learner_of_file(entry.name)[1]).stem == stem
    ]
    near = [entry for group in uploads.values() for entry in group]
    for choice in (_shallowest(exact), near):
        if len(choice) == 1:
            return choice[0], []
    return None


def _upload_number(entry: FileEntry, stem: str) -> tuple[int, bool] | None:
    """Return 0 for a file of the challenge's name, N for one that was numbered, and whether its name says late.

    None for any other file.
    """
    name = PurePosixPath(learner_of_file(entry.name)[1]).stem
    pattern = (
        rf"(?:.*_)?{re.escape(stem)}(?:[-_ ]*v?\(?(?P<number>\d{{1,9}})\)?)?"
        r"(?P<late>[-_ ](?:late|resubmission))?"
    )
    match = re.fullmatch(pattern, name, re.IGNORECASE | re.ASCII)
    return (int(match["number"] or 0), bool(match["late"])) if match else None


def kind_of_file(file: str) -> str:
    """Return what messages call files of this kind: `Python`, `JSON`, `notebook`."""
    if file.lower().endswith(NOTEBOOK):
        return "notebook"
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
    there = ", ".join(sorted(repr(learner_of_file(entry.name)[1]) for entry in entries)[:4])
    return f"there is no {kind_of_file(file)} file; {file} was expected" + (
        f", not {there}" if there else ""
    )


def learner_of_folder(name: str) -> Learner:
    """Return whose folder this is: Moodle's names, else the folder's own (Gradescope, Classroom, by hand)."""
    if match := MOODLE.fullmatch(name) or BRIGHTSPACE.fullmatch(name):
        return Learner(match["name"], match["number"])
    match = BLACKBOARD.fullmatch(name)
    return Learner(match["name"]) if match else Learner(name)


def learner_of_file(name: str) -> tuple[Learner, str]:
    """Return whose file this is, and the name that the learner gave to it."""
    for pattern in (MOODLE, BRIGHTSPACE, BLACKBOARD, CANVAS):
        match = pattern.fullmatch(name)
        if match and pattern is BLACKBOARD:
            return Learner(match["name"]), match["rest"] or f"{match['when']}.txt"
        if match and match["rest"]:
            return Learner(match["name"], match["number"]), match["rest"]
    return Learner(os.path.splitext(name)[0]), name


def is_one_learners_folder(name: str) -> bool:
    """Whether a folder's name can only be one learner's."""
    return any(form.fullmatch(name) for form in (MOODLE, BRIGHTSPACE, BLACKBOARD))


def common_folder_prefix(folders: Iterable[str]) -> str:
    """Return what GitHub Classroom puts before every learner's name: the assignment and a dash."""
    names = sorted(set(folders))
    if len(names) < 3:
        return ""
    return _shared_beginning(names[0], names[-1], "-")


def _shared_beginning(first: str, last: str, until: str) -> str:
    """Return what two names begin with, up to a character; of sorted names, what the outer two share all share."""
    pairs = enumerate(zip(first, last, strict=False))
    end = next((at for at, pair in pairs if pair[0] != pair[1]), min(len(first), len(last)))
    return first[: first[:end].rfind(until) + 1]


def learner_slug(learner: Learner) -> str:
    """Return the learner as part of a file name: portable, never empty, never hidden, at most 60 letters."""
    text = "-".join(filter(None, (learner.name, learner.number)))
    # letters without their accents are still readable
    letters = "".join(
        c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
    )
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", letters).strip("-._")
    return plain[:60].rstrip("-._") or "learner"
