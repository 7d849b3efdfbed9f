"""Name the class of mistake (a `family` of bugs.json) by where two files first differ and by how.

The class is that of the checkpoint in points.json (`family`), unless the kind of the difference has one of its own: in
points.json (`families`), or in the tables below, because it is caused by one class of mistake wherever it is seen.  No
bug is known here.

Kinds of a difference, as points.json and the document of a trace name them:

- `shape`, `dtype`; `nan`, `infinite` (where the right number is finite), `unmasked` (NaN just where the right numbers
  are 0)
- `unused`: a mask shows keys that no query may see
- `scaled`: by one factor; `taken`: the numbers of another checkpoint
- `rows`: only some rows of the batch; `padded`: only rows with padding; `heads`: only some heads
- `raises`, `returns` (where it should raise)
- `changes` an argument; `shares` memory or objects
- `rest`: reached by one file and not by the other
"""

from __future__ import annotations

from grader.diagnose.compare_outputs import ComparedCheckpoint

ANYWHERE = {
    "changes": "aliasing & ownership",
    "shares": "aliasing & ownership",
    "dtype": "dtype & precision",
    "infinite": "dtype & precision",
    "unmasked": "softmax numerics",
    "nan": "softmax numerics",
}
AFTER_MASK = ("weights", "context", "attention", "output")  # stages behind the mask
IN_AFTER_MASK = {"rows": "batching & padding", "padded": "batching & padding"}
MOVED = ("reordered", "scrambled")  # patterns of the right numbers in wrong places


def bug_class_of(item: ComparedCheckpoint) -> str | None:
    """Return a `family` of bugs.json, or None where neither checkpoint nor kind has one."""
    point, spec = item.checkpoint, item.spec
    for kind in point.kinds:
        if kind in spec.bug_class_by_kind:
            return spec.bug_class_by_kind[kind]
        if kind in ANYWHERE:
            return ANYWHERE[kind]
        if kind in IN_AFTER_MASK and spec.stage in AFTER_MASK:
            return IN_AFTER_MASK[kind]
    if spec.name == "scores" and any(pattern.kind in MOVED for pattern in point.patterns):
        return "head split-merge"
    return spec.bug_class
