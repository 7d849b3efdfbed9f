"""Name the kind of mistake by where two files part and by how.

The place votes with the family that its description names; a pattern of the difference has a vote of its own where it
speaks for one kind of mistake wherever it is seen, or where the description says so (`families`).  No bug is known
here.

Patterns: shape, dtype, nan, infinite (where the right number is finite), unmasked (NaN just where the right numbers are
0), unused (a mask shows keys that no query may see), scaled (by one factor), taken (the numbers of another point), rows
(only some of the batch), padded (only rows with padding), heads (only some of them), raises, returns (where it should
raise), changes (an argument), shares (memory or objects), rest (a visit too many or too few).
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
LATE = {"rows": "batching & padding", "padded": "batching & padding"}
AFTER_MASK = ("weights", "context", "attention", "output")


def bug_class_of(item: ComparedCheckpoint) -> str | None:
    """Return a word of the catalogue, or None where nothing speaks for one."""
    for kind in item.point.kinds:
        if kind in item.spec.families:
            return item.spec.families[kind]
        if kind in ANYWHERE:
            return ANYWHERE[kind]
        if kind in LATE and item.spec.stage in AFTER_MASK:
            return LATE[kind]
    text = " ".join(item.point.pattern)
    if item.spec.name == "scores" and ("order" in text or "places" in text):
        return "head split-merge"
    return item.spec.family
