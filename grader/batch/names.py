"""Who a submission is from, told by the names that course systems give to folders and files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

# "Jane Doe_1234567_assignsubmission_file_", and with the file's name behind it where all lie in one folder
MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<rest>.*)"
)
# "doejane_LATE_12345_678901_kv_attention-1.py"
CANVAS = re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<number>\d+)_\d+_(?P<rest>.+)")


@dataclass(frozen=True, order=True)
class Learner:
    """A name for people, and the number by which the course system tells two of that name apart."""

    name: str
    number: str = ""


def of_folder(name: str) -> Learner:
    """Return whose folder this is: Moodle's names, else the folder's own (Gradescope, Classroom, by hand)."""
    match = MOODLE.fullmatch(name)
    return Learner(match["name"], match["number"]) if match else Learner(name)


def of_file(name: str) -> tuple[Learner, str]:
    """Return whose file this is, and the name that the learner gave to it."""
    for pattern in (MOODLE, CANVAS):
        match = pattern.fullmatch(name)
        if match and match["rest"]:
            return Learner(match["name"], match["number"]), match["rest"]
    return Learner(os.path.splitext(name)[0]), name


def is_personal(name: str) -> bool:
    """Say whether a folder's name can only be one learner's."""
    return MOODLE.fullmatch(name) is not None


def common_prefix(folders: Iterable[str]) -> str:
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


def slug(learner: Learner) -> str:
    """Return the learner as part of a file name: portable, never empty, never hidden, at most 60 letters."""
    text = "-".join(filter(None, (learner.name, learner.number)))
    # letters without their accents are still readable
    letters = "".join(
        c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
    )
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", letters).strip("-._")
    return plain[:60].rstrip("-._") or "learner"
