"""Run one case of one file with the recorder beside it, and return what was written down step by step.

The requests are those of a grading; between two of them the worker is asked for its notes.  Nothing is compared here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from grader.content import Case, Challenge, ContentError
from grader.diagnose.checkpoints import OPS, RECORDER, Checkpoints
from grader.ground.arrays import Array
from grader.judge.script import CREATE, Script
from grader.judge.worker_reuse import limits_of
from grader.sandbox import Reply, Request, Sandbox, Session, WorkerFailure

SPARE_BYTES = 4 << 20
NOTES_BYTES = 8 << 20
MOST_CALLS = 400  # that the recorder keeps of a step
KINDS = ("enter", "result", "raised", "op")


@dataclass
class RecordedCall:
    """One visit of a method: what came out of it, or went in; `parts` are arrays, or short texts."""

    method: str
    kind: str
    changed: bool = False
    raised: str | None = None
    program: str = ""  # of the grid, in a Triton kernel
    parts: dict[str, Array | str] = field(default_factory=dict)


@dataclass
class StepRecording:
    """One step as it went: the answer, and the events in the order in which they ended."""

    index: int
    request: Request
    reply: Reply | None
    events: list[RecordedCall] = field(default_factory=list)
    failure: str | None = None
    cut: bool = False  # the recorder had no room for all events
    died: bool = False  # without an answer; the events may be those of its beginning alone


def record_case(
    sandbox: Sandbox, challenge: Challenge, case: Case, source: bytes, points: Checkpoints
) -> tuple[list[StepRecording], str | None]:
    """Return the notes of every step that could be run, and why there are no more, if there are not.

    Of a step in which the process died, the notes are those of a repetition that stops before it dies.
    """
    notes, ended = _run(sandbox, challenge, case, source, points)
    if notes and notes[-1].died:
        low, high = 0, MOST_CALLS
        while high - low > 1:
            middle = (low + high) // 2
            again, _ = _run(sandbox, challenge, case, source, points, middle)
            survived = len(again) == len(notes) and not again[-1].died
            low, high = (middle, high) if survived else (low, middle)
            notes[-1].events = again[-1].events if survived else notes[-1].events
    return notes, ended


def _run(
    sandbox: Sandbox,
    challenge: Challenge,
    case: Case,
    source: bytes,
    points: Checkpoints,
    most: int | None = None,
) -> tuple[list[StepRecording], str | None]:
    driver = traced_driver(challenge, points, most)
    limits = limits_of(challenge)
    notes: list[StepRecording] = []
    with sandbox.open(source, driver, filename=challenge.file, limits=limits) as session:
        try:
            loaded = session.load()
            if loaded.raised or loaded.problem:
                return notes, f"The file could not be loaded: {_why(loaded)}"
            script = Script(challenge, case)
            for index in script.indices:
                notes.append(_step(session, script, index, points))
                reply = notes[-1].reply
                if reply is None or (reply.problem and index == CREATE):
                    return notes, notes[-1].failure
                script.answered(index, reply)
        except WorkerFailure as failure:
            return notes, failure.message
        except (KeyError, ContentError):
            return notes, "A later step needs what this one did not return."
    return notes, None


def traced_driver(challenge: Challenge, points: Checkpoints, most: int | None = None) -> bytes:
    """Return the challenge's driver with the recorder behind it; steps end after `most` calls."""
    given = f"Verbs, {points.wanted()!r}" + ("" if most is None else f", {most}")
    last = f"Verbs = traced({given})\n".encode()
    return b"\n\n".join([challenge.driver, _recorder(), last])


@lru_cache
def _recorder() -> bytes:
    return b"\n\n".join(path.read_bytes() for path in RECORDER)


def _step(session: Session, script: Script, index: int, points: Checkpoints) -> StepRecording:
    request = script.request(index)
    sent = request.nbytes
    notes = StepRecording(index, request, None)
    try:
        notes.reply = session.ask(request, max_reply_bytes=4 * sent + SPARE_BYTES)
        taken = session.ask(Request("recorded_points"), max_reply_bytes=NOTES_BYTES)
        notes.events = _events(taken, points)
        notes.cut = taken.values.get("full") is True
    except WorkerFailure as failure:
        notes.failure, notes.died = failure.message, failure.kind == "crashed"
    return notes


def _events(taken: Reply, points: Checkpoints) -> list[RecordedCall]:
    """Read the worker's notes; whatever is not of the expected form was not written by the recorder."""
    known = {spec.method for spec in points.specs} | set(OPS)
    rows = taken.values.get("rows")
    found: dict[int, RecordedCall] = {}
    for row in rows if isinstance(rows, list) else []:
        if not _well_formed(row) or row[1] not in known:
            continue
        call, method, kind, part, sort, text = row
        event = found.setdefault(call, RecordedCall(method, kind))
        if sort == "text":
            event.raised = text if kind == "raised" else None
            event.changed = kind == "result" and text == "changed"
            event.program = text.removeprefix("program ") if text.startswith("program ") else ""
        elif sort == "tensor":
            array = taken.tensors.get(f"tensors/{call}:{part.replace('/', '|')}")
            event.parts[part] = text if array is None else array
        else:
            event.parts[part] = text
    return list(found.values())


def _well_formed(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != 6 or type(row[0]) is not int:
        return False
    return all(isinstance(item, str) for item in row[1:]) and row[2] in KINDS


def _why(reply: Reply) -> str:
    if reply.raised:
        return f"{reply.raised.types[0] if reply.raised.types else 'error'}: {reply.raised.message}"
    return reply.problem.message if reply.problem else ""
