"""One rule of the gate that a challenge breaks, and the file in which that is to be mended."""

from __future__ import annotations

from dataclasses import dataclass, replace

from grader.content import Challenge, ContentError


@dataclass(frozen=True)
class Violation:
    """`subject` is the id of the bug, case or file; `text` says what is wrong and how to mend it; `file` is where."""

    challenge: str
    subject: str
    text: str
    file: str = ""


def located(challenge: Challenge, violation: Violation) -> Violation:
    """Return the violation with the file in which its subject stands."""
    return replace(violation, file=_file(challenge, violation.subject.split(" + ")[0]))


def _file(challenge: Challenge, subject: str) -> str:
    if subject == "reference":
        return f"{challenge.reference.parent.name}/{challenge.reference.name}"
    names = {"golden": "recorded/golden.safetensors", "all decoys": "bugs.json"}
    for key, file in (
        ("bugs", "bugs.json"),
        ("cases", "cases.json"),
        ("trivial_solutions", "impostors.json"),
    ):
        try:
            if subject in getattr(challenge, key):
                names.setdefault(subject, file)
        except ContentError:
            continue  # a file that cannot be read is a violation of its own
    if subject in challenge.presets:
        names.setdefault(subject, "challenge.json")
    name = names.get(subject, subject if (challenge.folder / subject).is_file() else "")
    return f"challenges/{challenge.id}/{name}"
