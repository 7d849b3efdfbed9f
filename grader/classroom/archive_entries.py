"""List the files of a folder or of a zip archive; none of them is read yet.

Every name may be hostile: an entry that must not be read says why.  Nothing is ever unpacked to disk,
and nothing here knows what a submission is.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from grader.ground.files import NotOrdinary, read_beginning

MAX_ARCHIVE = 8 << 20  # bytes of one learner's archive
MAX_UNPACKED = 64 << 20
MAX_MEMBERS = 2000
JUNK = {"__MACOSX", "__pycache__", "node_modules", "site-packages", "venv", "env"}
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError),
)


class SubmissionRefused(Exception):
    """A submission that cannot be graded; the text says why, in words for the instructor."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a folder or an archive.

    `parts` are the names of its path, folders first.  `read(limit)` returns at most so many bytes of it, or raises
    SubmissionRefused.  `refusal` says why it must not be read.  `poisons_archive` means that the fault condemns the
    whole archive it lies in, as a member that leads out of it does.  `archive` is the path of a zip archive on disk.
    """

    parts: tuple[str, ...]
    read: Callable[[int], bytes]
    refusal: str | None = None
    poisons_archive: bool = False
    archive: Path | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.parts[-1]


def is_junk(parts: tuple[str, ...]) -> bool:
    """Whether a file belongs to a system, a tool or an environment rather than to the learner."""
    return any(part in JUNK or part.startswith(".") for part in parts)


def folder_entries(root: Path, skip: Path) -> list[FileEntry]:
    """Return the files below `root` in a fixed order; links are listed and never followed."""
    found: list[FileEntry] = []

    def unreadable(error: OSError) -> None:
        parts = Path(str(error.filename)).relative_to(root).parts
        if parts:
            found.append(_refused(parts, f"cannot be read: {error.strerror}"))

    for folder, folders, files in os.walk(root, onerror=unreadable):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        found += [_refused((here / name).relative_to(root).parts, "is a link") for name in links]
        folders[:] = [
            name
            for name in folders
            if name not in links and not is_junk((name,)) and not _is_left_out(here / name, skip)
        ]
        kept = [_file(here / name, root) for name in files if not is_junk((name,))]
        if not kept and not folders and not links and here != root:
            # a learner who handed in nothing must not be missing from the list
            kept = [_empty(here.relative_to(root).parts)]
        found += kept
    return sorted(found, key=lambda entry: entry.parts)


def _is_left_out(folder: Path, skip: Path) -> bool:
    """Whether a folder is `skip`, or the results of an earlier batch, whatever its name."""
    if folder == skip:
        return True
    files = [folder / "batch.json", folder / "journal.jsonl"]
    if not (all(file.is_file() for file in files) and (folder / "results").is_dir()):
        return False
    try:
        beginning = read_beginning(files[0], 200)
    except OSError:
        return False
    return b'"kvdojo/batch/v1"' in beginning


def archive_entries(data: bytes | Path, *, bulk: bool = False) -> list[FileEntry]:
    """Return the files in a zip archive; raises SubmissionRefused when it cannot or must not be opened.

    A course system's archive (`bulk`) may be large, and a faulty member of it is refused alone.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else data)
    except BROKEN as error:
        raise SubmissionRefused(f"the archive is damaged: {error}") from None
    everything = archive.infolist()
    members = [info for info in everything if not info.filename.endswith("/")]
    kept = [info for info in members if not is_junk(_parts(info.filename))]
    if not bulk:
        if len(members) > MAX_MEMBERS:
            raise SubmissionRefused(
                f"the archive holds {len(members)} files; at most {MAX_MEMBERS} are read"
            )
        if sum(info.file_size for info in kept) > MAX_UNPACKED:
            raise SubmissionRefused(
                f"the archive would unpack to more than {MAX_UNPACKED >> 20} MiB"
            )
    times = Counter(_parts(info.filename) for info in kept)
    entries = [_member(archive, info, times) for info in kept]
    if not bulk:
        for entry in entries:
            if entry.poisons_archive:
                raise SubmissionRefused(f"the archive's member {entry.refusal}")
    return sorted(entries + _empty_folders(everything), key=lambda entry: entry.parts)


def _empty_folders(members: list[zipfile.ZipInfo]) -> list[FileEntry]:
    """Return an entry for each folder that an archive names and that holds nothing, as `folder_entries` does."""
    paths = {path for info in members if (path := _parts(info.filename))}
    folders = {_parts(info.filename) for info in members if info.filename.endswith("/")}
    kept = {path for path in paths if not is_junk(path)}
    filled = {path[:depth] for path in kept for depth in range(1, len(path))}
    return [_empty(path) for path in folders & kept if path not in filled]


def _member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, times: Counter[tuple[str, ...]]
) -> FileEntry:
    parts = _parts(info.filename) or ("unnamed",)

    def read(limit: int) -> bytes:
        # the size in the header may lie: what is unpacked is bounded by what is asked for
        try:
            with archive.open(info) as stream:
                return stream.read(limit)
        except BROKEN as error:
            raise SubmissionRefused(f"the archive is damaged: {error}") from None

    fault = _fault(info, times)
    return FileEntry(
        parts, read, f"{info.filename!r} {fault}" if fault else None, poisons_archive=bool(fault)
    )


def _fault(info: zipfile.ZipInfo, times: Counter[tuple[str, ...]]) -> str | None:
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return "leads out of the archive"
    if times[_parts(info.filename)] > 1:
        return "is in the archive more than once"
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is a link or a device"
    if info.flag_bits & 0x1:
        return "is encrypted"
    return None


def _parts(name: str) -> tuple[str, ...]:
    pieces = name.replace("\\", "/").replace("\0", "").split("/")
    return tuple(piece for piece in pieces if piece not in ("", ".", ".."))


def _file(path: Path, root: Path) -> FileEntry:
    parts = path.relative_to(root).parts
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return _refused(parts, f"cannot be read: {error.strerror}")
    if stat.S_ISLNK(mode):
        return _refused(parts, "is a link")
    if not stat.S_ISREG(mode):
        return _refused(parts, "is not an ordinary file")
    archive = path if path.suffix.lower() == ".zip" else None
    return FileEntry(parts, lambda limit: read_file(path, limit), archive=archive)


def read_file(path: Path, limit: int) -> bytes:
    """Return at most `limit` bytes of an ordinary file; a link or a pipe put there since it was listed is refused."""
    try:
        return read_beginning(path, limit, follow=False)
    except NotOrdinary:
        raise SubmissionRefused("is not an ordinary file") from None
    except OSError as error:
        raise SubmissionRefused(f"cannot be read: {error.strerror}") from None


def _refused(parts: tuple[str, ...], why: str) -> FileEntry:
    def read(_limit: int) -> bytes:
        raise SubmissionRefused(f"{parts[-1]!r} {why}")

    return FileEntry(parts, read, f"{parts[-1]!r} {why}")


def _empty(folder: tuple[str, ...]) -> FileEntry:
    empty = _refused(folder, "is an empty folder")
    return replace(empty, parts=(*folder, "(nothing)"))


def without_first_folder(entries: list[FileEntry]) -> Iterator[FileEntry]:
    """Yield the entries without the first folder of their paths."""
    for entry in entries:
        yield replace(entry, parts=entry.parts[1:])
