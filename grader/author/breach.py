"""One thing wrong with a challenge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Breach:
    """`subject` is the id of the bug, case or file; `text` says what is wrong and how to mend it."""

    challenge: str
    subject: str
    text: str
