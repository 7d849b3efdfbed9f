"""Compare the recordings of one step, checkpoint by checkpoint, in the order in which the reference ended them.

Behind the checkpoints come the step's outputs and how it ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from grader.diagnose.checkpoints import Checkpoints, CheckpointSpec
from grader.diagnose.compare_arrays import comparable_part, compare_arrays, is_narrower
from grader.diagnose.compare_outputs import ComparedCheckpoint, compare_outputs, forgiven
from grader.diagnose.compare_texts import same_text, show_both, wrong_ending
from grader.diagnose.pair_checkpoints import CheckpointPair, pair_checkpoints
from grader.diagnose.patterns import StepContext
from grader.diagnose.record_case import RecordedCall, StepRecording
from grader.diagnose.trace_model import Checkpoint, FirstWrongValue
from grader.ground.arrays import Array, array
from grader.judge.error_patterns import Pattern

Part = Array | str
Parts = Mapping[str, Part]


def compare_step(
    checkpoints: Checkpoints,
    reference: StepRecording,
    submission: StepRecording,
    context: StepContext,
    undefined: Collection[str] = (),
) -> list[ComparedCheckpoint]:
    """Compare one step, and return its checkpoints in the order of the computation.

    `undefined` are the methods that the submission does not define.
    """
    pairs = pair_checkpoints(checkpoints, reference, submission, undefined)
    if submission.truncated or submission.reply is None:
        # a missing call may just not have been recorded; but programs of a kernel that never ran show where it stopped
        pairs = (pair for pair in pairs if pair.actual is not None or pair.program)
    if reference.truncated:
        pairs = (pair for pair in pairs if pair.expected is not None)
    found = [_compared(pair, context) for pair in pairs]
    found += compare_outputs(checkpoints, reference, submission, context)
    return _without_superseded(found)


def outputs_differ(compared: Sequence[ComparedCheckpoint]) -> bool:
    """Whether a step answers, ends or treats its arguments otherwise than it should."""
    return any(item.spec.is_output and item.checkpoint.status != "same" for item in compared)


def all_forgiven(compared: Sequence[ComparedCheckpoint]) -> list[ComparedCheckpoint]:
    """Return a step in which no difference counts, without the checkpoints that only one file reaches."""
    return [forgiven(item) for item in compared if item.checkpoint.status in ("same", "differs")]


def _compared(pair: CheckpointPair, context: StepContext) -> ComparedCheckpoint:
    spec = pair.spec
    made = Checkpoint(
        spec.name, spec.title, pair.call, "same", program=pair.program, axes=spec.axes
    )
    if pair.expected is not None and pair.actual is not None:
        point = _compare_calls(spec, made, pair.expected, pair.actual, context)
        return ComparedCheckpoint(point, spec)
    if pair.expected is None:
        status, text = "extra", "Your file comes here, the reference does not."
        if spec.loop and pair.call:
            text = (
                f"Your file goes on to round {pair.call + 1}, the reference ends after {pair.call}."
            )
    else:
        status, text = "missing", "The reference comes here, your file does not."
        if spec.loop:
            text = (
                f"The reference goes on to round {pair.call + 1}, your file ends after {pair.call}."
            )
    patterns = (Pattern("reached_by_one", text),)
    return ComparedCheckpoint(
        replace(made, status=status, patterns=patterns, kinds=("rest",)), spec
    )


def _compare_calls(
    spec: CheckpointSpec,
    made: Checkpoint,
    expected: RecordedCall,
    actual: RecordedCall,
    context: StepContext,
) -> Checkpoint:
    """Compare a call of the reference with one of the submission."""
    made = replace(made, from_method=actual.kind != "op")
    if actual.changed and not expected.changed and expected.raised:
        return _changes_argument(made)
    if expected.raised != actual.raised:
        ending = Pattern("ending", wrong_ending(expected.raised, actual.raised))
        kind = "raises" if actual.raised else "returns"
        return replace(made, status="differs", patterns=(ending,), kinds=(kind,))
    if expected.kind == "op" or actual.kind == "op":
        # only the first array is comparable, and only when both lay it out alike
        pairs = list(_arrays(expected.parts))[:1], list(_arrays(actual.parts))[:1]
        if not all(pairs) or pairs[0][0][1].shape != pairs[1][0][1].shape:
            return made
        want, got = comparable_part(spec.torch_function, pairs[0][0][1], pairs[1][0][1])
        return _compare_parts(made, spec, {"": want}, {"": got}, context)
    parts = _chosen(spec, expected), _chosen(spec, actual)
    compared = _compare_parts(made, spec, *parts, context, expected.parts.get(spec.filled_by))
    if compared.status == "same" and actual.changed and not expected.changed:
        return _changes_argument(compared)
    return compared


def _changes_argument(made: Checkpoint) -> Checkpoint:
    text = "It changes an argument in place, which belongs to its caller."
    patterns = (Pattern("changed_argument", text),)
    return replace(made, status="differs", patterns=patterns, kinds=("changes",))


def _chosen(spec: CheckpointSpec, call: RecordedCall) -> Parts:
    """Return the parts of a call that belong to the checkpoint (see `argument` and `parts` of CheckpointSpec)."""
    parts = call.parts
    if spec.argument is not None:
        index = str(spec.argument)
        parts = {k: v for k, v in parts.items() if k.startswith((f"{index}/", f"{index}."))} | (
            {index: parts[index]} if index in parts else {}
        )
    if not spec.parts:
        return parts
    own = "result" in spec.parts
    return {
        name: item
        for name, item in parts.items()
        if name.startswith(spec.parts) or (own and name[:1] not in (".", "~"))
    }


def _arrays(parts: Parts) -> Iterator[tuple[str, Array]]:
    return ((name, item) for name, item in parts.items() if isinstance(item, Array))


def _compare_parts(
    made: Checkpoint,
    spec: CheckpointSpec,
    expected: Parts,
    actual: Parts,
    context: StepContext,
    filled: Part | None = None,
) -> Checkpoint:
    """Compare all parts of a call, and return the first that differs.

    `filled` says how many slots of each batch row hold tokens.  Where nothing differs, the checkpoint holds the first
    pair of arrays.
    """
    for name, want in expected.items():
        got = actual.get(name)
        titled = f"{made.title} ({_plain(name)})" if name and len(expected) > 1 else made.title
        if name[:1] == "~":
            if want == "apart" and got == "shared":
                pattern = Pattern("shared", _sharing(name))
                return replace(made, status="differs", patterns=(pattern,), kinds=("shares",))
        elif got is None or (got == "not there" and not _promised(name)):
            if _promised(name):
                missing = Pattern("missing", f"{name or 'the result'} is missing.")
                return replace(made, status="differs", patterns=(missing,), kinds=("shape",))
        elif isinstance(want, Array) and isinstance(got, Array):
            counted = _counted_values(spec, want, got, filled)
            # the dtype within a computation is the file's own choice, unless points.json says what a narrower one means
            told = "dtype" in spec.bug_class_by_kind and is_narrower(got.dtype, want.dtype)
            compared = compare_arrays(made, *counted, spec.axes, context, dtype_counts=told)
            if compared.status != "same":
                return replace(compared, title=titled)
            if made.expected is None:
                made = compared
        elif not same_text(want, got) and not (spec.is_internal and "None" in (want, got)):
            # what an internal helper returns beside its numbers is the file's own affair
            place = FirstWrongValue((), (), *show_both(want, got))
            return replace(made, title=titled, status="differs", place=place)
    return made


def _plain(name: str) -> str:
    """Name a part as learners know it."""
    return name.removeprefix(".look.").removeprefix(".self.").lstrip(".")


def _counted_values(
    spec: CheckpointSpec, want: Array, got: Array, filled: Part | None
) -> tuple[Array, Array]:
    """Return two arrays with 0 wherever they may hold anything (see `filled_by` of CheckpointSpec)."""
    if want.shape != got.shape:
        return want, got
    if not spec.compare_values:
        return want, want
    if not isinstance(filled, Array) or len(filled.shape) != 1 or len(want.shape) != len(spec.axes):
        return want, got
    if "slot" not in spec.axes or "batch" not in spec.axes:
        return want, got
    indices = np.indices(want.shape, sparse=True)
    row, slot = (indices[spec.axes.index(name)] for name in ("batch", "slot"))
    if want.shape[spec.axes.index("batch")] != len(filled.values):
        return want, got
    free = slot >= filled.values[row]
    blank = (np.where(free, item.values.dtype.type(0), item.values) for item in (want, got))
    return array(next(blank), want.dtype), array(next(blank), got.dtype)


def _promised(name: str) -> bool:
    """Whether every file has this part; attributes of an object beyond the challenge's contract are optional."""
    return "." not in name


def _sharing(name: str) -> str:
    """Say what two things share that should be apart; `name` is such as `~result/self/memory`."""
    pair, _, sort = name[1:].partition("/objects")
    if name.startswith("~self/self"):
        return "It keeps one object twice: a change of the one is seen in the other."
    left, right = pair.removesuffix("/memory").split("/")
    what = "an object" if sort == "" and name.endswith("/objects") else "memory"
    words = {"result": "what it returns", "self": "what it keeps", "arguments": "its arguments"}
    return f"{words[left].capitalize()} and {words[right]} share {what}: a change of one is seen in the other."


def _without_superseded(found: list[ComparedCheckpoint]) -> list[ComparedCheckpoint]:
    """Forgive a difference where a checkpoint that supersedes it agrees, with arrays, in the same call.

    With `weights` superseding `scores`, in a step with two layers:

        scores call 0 differs, weights call 0 same      the difference of scores does not count in call 0
        scores call 1 differs, weights call 1 differs   in call 1 it does: here the computation went wrong
    """
    superseded = {
        (name, item.checkpoint.call)
        for item in found
        if item.checkpoint.status == "same" and item.checkpoint.expected
        for name in item.spec.supersedes
    }
    return [
        forgiven(item) if (item.checkpoint.name, item.checkpoint.call) in superseded else item
        for item in found
    ]
