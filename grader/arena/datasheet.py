"""What tasks are drawn from, in numbers: hand-written and generated bugs by challenge, level and operator.

Everything is read from the content; nothing is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from grader.arena.arena_task import generated_of
from grader.content import Challenge
from grader.content.generated_bugs import LEVELS

DATASHEET_SCHEMA = "kvdojo/arena-datasheet/v1"


def datasheet_document(challenges: Sequence[Challenge]) -> dict[str, Any]:
    """Return the counts of some challenges, and those of all of them together; raises ContentError."""
    entries = [_challenge(challenge) for challenge in challenges]
    operators: Counter[str] = Counter()
    for entry in entries:
        operators.update(entry["operators"])
    return {
        "schema": DATASHEET_SCHEMA,
        "challenges": entries,
        "total": {
            "hand_written": sum(entry["hand_written"] for entry in entries),
            "decoys": sum(entry["decoys"] for entry in entries),
            "proposed": sum(entry["proposed"] for entry in entries),
            "kept": sum(entry["kept"] for entry in entries),
            "levels": {name: sum(entry["levels"][name] for entry in entries) for name in LEVELS},
            "operators": dict(sorted(operators.items())),
        },
    }


def datasheet_text(challenges: Sequence[Challenge]) -> str:
    """Return the counts as Markdown, the form in which they are read."""
    document = datasheet_document(challenges)
    total = {"id": "all", **document["total"]}
    lines = [
        "| challenge | hand-written | decoys | mutants | kept | easy | medium | hard |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in [*document["challenges"], total]:
        numbers = [entry[name] for name in ("hand_written", "decoys", "proposed", "kept")]
        numbers += [entry["levels"][name] for name in LEVELS]
        lines.append(f"| {entry['id']} | " + " | ".join(map(str, numbers)) + " |")
    lines += ["", "| operator | kept |", "|---|---|"]
    ranked = sorted(total["operators"].items(), key=lambda item: (-item[1], item[0]))
    lines += [f"| {name} | {number} |" for name, number in ranked]
    dropped: Counter[str] = Counter()
    for entry in document["challenges"]:
        dropped.update(entry["dropped"])
    lines += ["", "| why a mutant was not kept | mutants |", "|---|---|"]
    lines += [f"| {why} | {number} |" for why, number in sorted(dropped.items())]
    return "\n".join(lines)


def _challenge(challenge: Challenge) -> dict[str, Any]:
    generated = generated_of(challenge)
    made = list(generated.bugs.values()) if generated else []
    levels = Counter(entry.level for entry in made)
    operators = Counter(operator for entry in made for operator in entry.operators)
    kinds = Counter(bug.kind for bug in challenge.bugs.values())
    return {
        "id": challenge.id,
        "hand_written": kinds["bug"],
        "decoys": kinds["decoy"],
        "proposed": generated.proposed if generated else 0,
        "dropped": dict(generated.dropped) if generated else {},
        "kept": len(made),
        "levels": {name: levels[name] for name in LEVELS},
        "operators": dict(sorted(operators.items())),
    }
