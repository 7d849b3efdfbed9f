"""Tasks of the arena as folders for Harbor, and marks as its rewards.

    OUT/tasks/ID/task.toml, instruction.md        what Harbor reads, and what the agent reads
    OUT/tasks/ID/environment/                     the agent's container: Python, torch and the file
    OUT/tasks/ID/tests/                           the verifier's: both parts of the task, and a script that marks
    OUT/tasks/ID/solution/                        the best there is, for Harbor's own oracle agent
    OUT/verifier/CHALLENGE/                       the image that verifiers stand on: this engine and its content

The verifier has a container of its own, so that references, cases and what is planted are never where the agent is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grader.arena.arena_task import (
    CANARY,
    PublicTask,
    SealedTask,
    read_public,
    read_sealed,
    refuse_occupied,
    restored,
    sealed_bytes,
    task_folders,
)
from grader.arena.marks import Marks
from grader.content import Catalogue, Challenge
from grader.content.catalogue import read_text
from grader.ground.errors import UserError
from grader.ground.files import write_atomically
from grader.report.packages import engine, rendered

TASKS, VERIFIER = "tasks", "verifier"


def rewards(marks: Marks) -> dict[str, float]:
    """Return marks as Harbor reads them: finite numbers, of which `reward` is the score."""
    return {
        "reward": marks.reward,
        "solved": float(marks.solved),
        "recall": marks.recall,
        "recall_weighted": marks.recall_weighted,
        "precision": marks.precision,
        "f1": marks.f1,
        "decoys_touched": float(marks.decoys_touched),
        "false_fixes": float(marks.false_fixes),
        "regressions": float(marks.regressions),
    }


def export_tasks(
    drawn: Path, out: Path, known: Catalogue, sealed: Path | None = None
) -> list[PublicTask]:
    """Write a folder for each task of a draw; raises UserError and ContentError."""
    refuse_occupied(out)
    both = [(read_public(f, known), read_sealed(f, sealed)) for f in task_folders(drawn)]
    challenges = {public.challenge: known.load(public.challenge) for public, _ in both}
    files: dict[str, bytes] = {}
    for challenge in challenges.values():
        files |= dict(_verifier(challenge))
    for public, kept in both:
        files |= dict(_task(challenges[public.challenge], public, kept, known))
    try:
        for name, content in files.items():
            write_atomically(out / name, content)
            if name.endswith(".sh"):
                (out / name).chmod(0o755)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}.") from None
    return [public for public, _ in both]


def _task(
    challenge: Challenge, public: PublicTask, kept: SealedTask, known: Catalogue
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of one task by their path."""
    here = f"{TASKS}/{public.id}"
    words = {
        **_pins(challenge.root),
        "id": public.id,
        "challenge": public.challenge,
        "file": public.file,
        "commitment": public.commitment,
        "symptoms": public.symptoms,
        "brief": public.brief,
        "canary": CANARY,
    }
    source = public.source.encode()
    document = json.dumps(public.document(), indent=2, ensure_ascii=False) + "\n"
    yield f"{here}/task.toml", _render("task.toml", words)
    yield f"{here}/instruction.md", _render("instruction.md", words)
    yield f"{here}/environment/Dockerfile", _render("environment.Dockerfile", words)
    yield f"{here}/environment/{public.file}", source
    yield f"{here}/tests/Dockerfile", _render("tests.Dockerfile", words)
    yield f"{here}/tests/test.sh", _render("test.sh", words)
    yield f"{here}/tests/public/{public.id}/task.json", document.encode()
    yield f"{here}/tests/public/{public.id}/{public.file}", source
    yield f"{here}/tests/sealed/{kept.id}.json", sealed_bytes(kept)
    yield f"{here}/solution/solve.sh", _render("solve.sh", words)
    yield f"{here}/solution/{public.file}", restored(known, kept).mended.encode()


def _verifier(challenge: Challenge) -> Iterator[tuple[str, bytes]]:
    here = f"{VERIFIER}/{challenge.id}"
    words = {"id": challenge.id, "title": challenge.title}
    yield f"{here}/Dockerfile", _render("verifier.Dockerfile", words)
    yield f"{here}/kvdojo.zip", engine(challenge)


def _render(name: str, words: Mapping[str, Any]) -> bytes:
    return rendered(f"harbor/{name}.j2", **words)


def _pins(root: Path) -> dict[str, str]:
    """Return the pinned torch and triton, as pip takes them."""
    lines: Sequence[str] = read_text(root / "constraints.txt").splitlines()
    pins = {line.partition("==")[0]: line for line in lines if "==" in line}
    return {name: pins.get(name, name) for name in ("torch", "triton")}
