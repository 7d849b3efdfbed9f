"""Run one case of one file with the recorder beside it, and return what was recorded, step by step.

The requests are those of a grading; after each, the worker is asked for its records.  Nothing is compared here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from grader.content import Case, Challenge, ContentError
from grader.diagnose.checkpoints import IN_WORKER, Checkpoints
from grader.ground.arrays import Array
from grader.judge.script import CREATE, Script
from grader.judge.worker_reuse import limits_of
from grader.sandbox import Reply, Request, Sandbox, Session, WorkerFailure

SPARE_BYTES = 4 << 20
RECORD_BYTES = 8 << 20
MOST_CALLS = 400  # that the recorder keeps of a step
KINDS = ("enter", "result", "raised", "op")
TORCH_FUNCTIONS = ("softmax.in", "softmax.out", "context")


@dataclass
class RecordedCall:
    """One call of a method that was recorded.

    `kind` is `enter` (what the call was given), `result`, `raised`, or `op` for one of torch's own functions.

    `parts` are arrays, or short texts for everything else, by where they stand in the value: `""` is the value itself,
    `"0/key"` an item of an item, `".self.size"` what the path `size` leads to from the object.  `"~result/self/memory"`
    says whether those two share memory: `shared` or `apart`.
    """

    method: str
    kind: str
    changed: bool = False  # an argument was changed in place
    raised: str | None = None  # the exception's name
    program: str = ""  # of the grid, in a Triton kernel
    parts: dict[str, Array | str] = field(default_factory=dict)


@dataclass
class StepRecording:
    """One step as it went: request, reply, and the calls in the order in which they ended.

    `truncated` says that the recorder had no room for all calls, and `died` that the process ended without a reply; the
    calls may then be those of the step's beginning alone.
    """

    index: int
    request: Request
    reply: Reply | None
    calls: list[RecordedCall] = field(default_factory=list)
    failure: str | None = None
    truncated: bool = False
    died: bool = False


def record_case(
    sandbox: Sandbox, challenge: Challenge, case: Case, source: bytes, checkpoints: Checkpoints
) -> tuple[list[StepRecording], str | None]:
    """Return the recordings of all steps that could be run, and why there are no more, or None when all were run.

    Where the process died in a step, its records died with it.  The step is then repeated in new processes that stop
    after so many calls, by bisection: the calls returned are those of the longest repetition that survived.
    """
    steps, ended = _run(sandbox, challenge, case, source, checkpoints)
    if steps and steps[-1].died:
        survives, dies = 0, MOST_CALLS
        while dies - survives > 1:
            middle = (survives + dies) // 2
            again, _ = _run(sandbox, challenge, case, source, checkpoints, middle)
            if len(again) == len(steps) and not again[-1].died:
                survives = middle
                steps[-1].calls = again[-1].calls
            else:
                dies = middle
    return steps, ended


def _run(
    sandbox: Sandbox,
    challenge: Challenge,
    case: Case,
    source: bytes,
    checkpoints: Checkpoints,
    most_calls: int | None = None,
) -> tuple[list[StepRecording], str | None]:
    driver = traced_driver(challenge, checkpoints, most_calls)
    limits = limits_of(challenge)
    steps: list[StepRecording] = []
    with sandbox.open(source, driver, filename=challenge.file, limits=limits) as session:
        try:
            loaded = session.load()
            if loaded.raised or loaded.problem:
                return steps, f"The file could not be loaded: {_why(loaded)}"
            script = Script(challenge, case)
            for index in script.indices:
                steps.append(_step(session, script, index, checkpoints))
                reply = steps[-1].reply
                if reply is None or (reply.problem and index == CREATE):
                    return steps, steps[-1].failure
                script.answered(index, reply)
        except WorkerFailure as failure:
            return steps, failure.message
        except (KeyError, ContentError):
            return steps, "A later step needs what this one did not return."
    return steps, None


def traced_driver(
    challenge: Challenge, checkpoints: Checkpoints, most_calls: int | None = None
) -> bytes:
    """Return the challenge's driver with the recorder behind it; steps end after `most_calls`.

    The recorder is executed in a namespace of its own, so that it may use any names; of the driver's names it replaces
    `Verbs` alone.
    """
    arguments = f"Verbs, {checkpoints.wanted()!r}"
    arguments += "" if most_calls is None else f", {most_calls}"
    recorder = f"""

__recorder__ = {{"__name__": "recorder"}}
exec({_recorder()!r}, __recorder__)
Verbs = __recorder__["traced"]({arguments})
"""
    return challenge.driver + recorder.encode()


@lru_cache
def _recorder() -> str:
    return "\n\n".join(path.read_text("utf-8") for path in IN_WORKER)


def _step(session: Session, script: Script, index: int, checkpoints: Checkpoints) -> StepRecording:
    request = script.request(index)
    sent = request.nbytes
    step = StepRecording(index, request, None)
    try:
        step.reply = session.ask(request, max_reply_bytes=4 * sent + SPARE_BYTES)
        taken = session.ask(Request("recorded_calls"), max_reply_bytes=RECORD_BYTES)
        step.calls = calls_of(taken, checkpoints)
        step.truncated = taken.values.get("full") is True
    except WorkerFailure as failure:
        step.failure, step.died = failure.message, failure.kind == "crashed"
    return step


def calls_of(taken: Reply, checkpoints: Checkpoints) -> list[RecordedCall]:
    """Return the calls in a recorder's reply; rows that do not have its form, or name no checkpoint, are left out.

    A row is `[call, method, kind, part, type, text]`.  Several rows with one `call` belong together:

        [1, "_split_heads", "result", "",  "text",   ""]           begins the call
        [1, "_split_heads", "result", "",  "tensor", "float32 [1, 2, 3, 4]"]

    and the numbers of the second are the reply's tensor `tensors/1:`.  Learner code shares the process that made the
    rows, so they are evidence of nothing and are read like any reply.
    """
    known = {spec.method for spec in checkpoints.specs} | set(TORCH_FUNCTIONS)
    rows = taken.values.get("rows")
    found: dict[int, RecordedCall] = {}
    for row in rows if isinstance(rows, list) else []:
        if not _well_formed(row) or row[1] not in known:
            continue
        number, method, kind, part, sort, text = row
        call = found.setdefault(number, RecordedCall(method, kind))
        if sort == "text":
            call.raised = text if kind == "raised" else None
            call.changed = kind == "result" and text == "changed"
            call.program = text.removeprefix("program ") if text.startswith("program ") else ""
        elif sort == "tensor":
            array = taken.tensors.get(f"tensors/{number}:{part.replace('/', '|')}")
            call.parts[part] = text if array is None else array
        else:
            call.parts[part] = text
    return list(found.values())


def _well_formed(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != 6 or type(row[0]) is not int:
        return False
    return all(isinstance(item, str) for item in row[1:]) and row[2] in KINDS


def _why(reply: Reply) -> str:
    if reply.raised:
        return f"{reply.raised.types[0] if reply.raised.types else 'error'}: {reply.raised.message}"
    return reply.problem.message if reply.problem else ""
