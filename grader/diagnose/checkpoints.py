"""The checkpoints of a challenge, `points.json`: which methods' results a trace compares, and what each is called.

Where a file lacks a method, some checkpoints can be seen in torch's own softmax and products instead (`op`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from grader.content import Challenge, ContentError
from grader.content.jsonfile import read_json
from grader.content.planting import line_span

# the recorder, sent behind a challenge's driver as one text, in this order
IN_WORKER = [
    Path(__file__).parent / "in_worker" / f"{name}.py"
    for name in ("object_views", "kernel_recorder", "torch_recorder", "recorder")
]


class CheckpointSpec(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={
        "bug_class": "family",
        "bug_class_by_kind": "families",
        "argument": "enter",
        "object_paths": "self",
        "result_paths": "look",
        "written": "writes",
        "torch_function": "op",
        "supersedes": "settles",
        "compare_values": "values",
        "filled_by": "filled",
    },
):
    """One entry of `points` in points.json.  The key is given where it is not the name of the field.

    `method` is the function or `Class.method` whose result is compared: `"_split_heads"`, `"KVCache.update"`.  For a
    function of a Triton kernel, `caller>function` means its calls from there alone.
    `argument` (`enter`): compare this argument instead of the result; it is counted from 0 without `self`, and -1 is
    `self`.  `{"method": "KVCache.update", "enter": 0}` is the first thing given to `update`.
    `torch_function` (`op`): where torch's own functions show the checkpoint in a file without the method, one of
    `scores`, `mask`, `weights`, `context`.
    `stage` is the part of the computation it belongs to.  `bug_class` (`family`) is the kind of mistake that usually
    shows here first, and `bug_class_by_kind` (`families`) replaces it where the difference is of such a kind, as in
    `{"rows": "batching & padding"}`.
    `axes` are the names of the axes, such as `["batch", "head", "query", "key"]`.
    `object_paths` (`self`) lead from the object, and `result_paths` (`look`) from the result, to values that belong to
    the checkpoint: `"0.get"` is item 0, then its `get()`.
    `written` (`writes`) are the arguments that a kernel writes to.
    `apart` are pairs that must share neither memory nor objects, such as `"result/self"`; `"self/self"` means that no
    list of the object may hold one object twice.
    `parts`: only these parts of the value are compared, by the beginning of their names; `"result"` is the result
    itself.  `["0", ".self.padding"]` is item 0 of a tuple and the object's `padding`.
    `loop`: how often the checkpoint is reached is a part of the right answer.  A loop over tiles that ends one round
    early differs there, although every round that it made is right.
    `block`: this argument is the first row of the block that the program works on, and `block` is the axis of the grid
    that numbers blocks.  A reference that gives blocks 0 and 16 to programs (0, 0) and (1, 0), and a file that deals
    them out in the reverse order, are then compared block by block: both have a `block from 16, 0`.
    `compare_values` (`values`): false where only shapes and dtypes count.
    `filled_by` (`filled`) is the part that says how many slots of each batch row hold tokens.  The slots behind them
    may hold anything: with lengths [2, 3] and 4 slots, slots 2 and 3 of row 0 and slot 3 of row 1 are not compared.
    `supersedes` (`settles`) are checkpoints whose differences do not matter when this one agrees.  With
    `{"name": "weights", "settles": ["scores"]}` a file that scales its queries before the product, or masks with
    another large number, is not reported as wrong in its scores: the weights that they lead to are right.
    """

    name: str
    title: str = ""
    method: str = ""
    stage: str = ""
    bug_class: str | None = None
    bug_class_by_kind: dict[str, str] = {}
    axes: tuple[str, ...] = ()
    argument: int | None = None
    object_paths: tuple[str, ...] = ()
    result_paths: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    torch_function: str | None = None
    supersedes: tuple[str, ...] = ()
    loop: bool = False
    block: int | None = None
    compare_values: bool = True
    filled_by: str = ""

    def __post_init__(self) -> None:
        for field in ("title", "stage"):
            if not getattr(self, field):
                msgspec.structs.force_setattr(self, field, self.name)

    @property
    def is_output(self) -> bool:
        """Whether it is an output of a step, which callers see, and no checkpoint within it."""
        return not self.method and not self.torch_function

    @property
    def is_internal(self) -> bool:
        """Whether it is a result of a function with a private name, which no contract describes."""
        return bool(self.method) and re.split("[.>]", self.method)[-1].startswith("_")


OUTPUT = CheckpointSpec("output")


class FactSource(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"checkpoint": "point", "every_call": "tiles"},
):
    """Where a fact of a step is found: in a part of a checkpoint's value, or in an argument of the step.

    It is the length of `axis`, or the number itself where there is no axis: `{"point": "weights", "axis": 3}` is the
    number of keys in `weights` [B, H, S, T].  `argument` names an argument of the step instead; of several names,
    separated by blanks, the first that the step has.  With `every_call` (`tiles`) the values of all calls in the step
    are put together, as each sees a part of the keys; without it the last call counts.
    """

    checkpoint: str = ""
    part: str = ""
    axis: int | None = None
    argument: str = ""
    every_call: bool = False


class Checkpoints(msgspec.Struct, frozen=True, rename={"specs": "points"}):
    """All of points.json.

    `outputs` describe the outputs of a step, by the beginning of their names; `stages` names the stage of bugs whose
    edit stands elsewhere than where it acts.  `facts` are `cache_length` (tokens held after a step), `cached` (before
    it), `weights` (of the newest token), `scores` (a mask, or masked scores) and, for each batch row, `padding` (how
    much there is) or `lengths`.
    """

    specs: tuple[CheckpointSpec, ...]
    outputs: dict[str, CheckpointSpec] = {}
    stages: dict[str, str] = {}
    facts: dict[str, FactSource] = {}

    def wanted(self) -> dict[str, dict[str, Any]]:
        """Return what the recorder has to write down, by method: the arguments it is given in the worker."""
        found: dict[str, dict[str, Any]] = {}
        asides = ("object_paths", "result_paths", "written", "apart")
        for spec in self.specs:
            if not spec.method:
                continue
            entry = found.setdefault(
                spec.method, {"arguments": {}, **{name: [] for name in asides}}
            )
            if spec.argument is not None:
                entry["arguments"].setdefault(spec.argument, []).extend(spec.result_paths)
                continue
            for name in asides:
                entry[name] += [item for item in getattr(spec, name) if item not in entry[name]]
        return found

    def output(self, name: str) -> CheckpointSpec:
        """Return the description of an output of a step, by the longest prefix that is known."""
        known = [prefix for prefix in self.outputs if name.startswith(prefix)]
        return self.outputs[max(known, key=len)] if known else OUTPUT


def load_checkpoints(challenge: Challenge) -> Checkpoints:
    """Read points.json of a challenge; one without the file has its outputs alone.  Raises ContentError."""
    path = challenge.folder / "points.json"
    if not path.exists():
        return Checkpoints(())
    document = read_json(path)
    try:
        return parse_checkpoints(document)
    except (msgspec.ValidationError, AttributeError, TypeError) as error:
        raise ContentError(f"{path}: {error}") from None


def parse_checkpoints(document: Mapping[str, Any]) -> Checkpoints:
    """Return the checkpoints of a document; raises msgspec.ValidationError where it does not have that form."""
    outputs = {
        name: {"name": "output", **entry} for name, entry in document.get("outputs", {}).items()
    }
    return msgspec.convert({**document, "outputs": outputs}, Checkpoints)


def stage_of(challenge: Challenge, checkpoints: Checkpoints, bug: str) -> str | None:
    """Return the stage of a bug: that of the method its first edit stands in, unless `stages` says otherwise."""
    if bug in checkpoints.stages:
        return checkpoints.stages[bug]
    lines = line_span(challenge.reference_text, challenge.bugs[bug].edits[0])
    owner = _function_at(challenge.reference_text, lines.start + 1)
    for spec in sorted(checkpoints.specs, key=lambda spec: spec.argument is not None):
        if owner is not None and spec.method in (owner, owner.rpartition(".")[2]):
            return spec.stage
    return None


def undefined_methods(checkpoints: Checkpoints, source: str) -> set[str]:
    """Return the methods of the checkpoints that a file does not define, wherever it might define them."""
    names = set(re.findall(r"\bdef\s+(\w+)", source))
    return {
        spec.method for spec in checkpoints.specs if re.split("[.>]", spec.method)[-1] not in names
    }


def _function_at(text: str, line: int) -> str | None:
    """Return the innermost function that a line stands in, as `name` or `Class.name`."""
    found: tuple[int, str] | None = None
    for node, name in _functions(ast.parse(text), ""):
        if node.lineno <= line <= (node.end_lineno or 0) and (
            found is None or node.lineno > found[0]
        ):
            found = node.lineno, name
    return found[1] if found else None


def _functions(node: ast.AST, prefix: str) -> list[tuple[ast.FunctionDef, str]]:
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            found.append((child, f"{prefix}{child.name}"))
        elif isinstance(child, ast.ClassDef):
            found += _functions(child, f"{child.name}.")
    return found
