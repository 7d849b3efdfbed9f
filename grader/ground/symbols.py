"""The marks that say without colour how something stands, and numbers with their nouns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Symbols:
    """Marks that carry the status without colour."""

    passed: str
    failed: str
    error: str
    skipped: str
    unsure: str
    dash: str

    def of(self, status: str) -> str:
        """Return the mark of a case's status or of a verdict."""
        return str(getattr(self, status))


UNICODE = Symbols("✓", "✗", "!", "–", "?", "·")
PLAIN = Symbols("[ok]", "[FAIL]", "[ERROR]", "[skip]", "[?]", "-")


def count(number: float, noun: str) -> str:
    """Return a number with its noun, e.g. `1 case`, `3 cases`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
