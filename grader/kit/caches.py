"""Caches as cases speak of them: drawn ones with unused slots, and those that an earlier step returned.

One set of words for all challenges: `cache` names an earlier step, `keep` cuts its cache to the first tokens, `rewind`
takes the last tokens of every row back, `rows` puts the rows in another order, `fill` starts from drawn tokens instead,
and `unused` says what lies in slots that hold no token.  Trusted side; uses numpy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from grader.kit.annotations import choice, saved, whole, wholes

UNUSED = {"zeros": 0.0, "nan": np.nan, "junk": 50.0, "inf": np.inf, "minus_inf": -np.inf}

CacheName = saved("Start from the cache that the step saved under this name returned.")
Keep = whole(1, 64, "Only its first tokens.")
Rewind = whole(0, 128, "Take so many tokens back from every row before the call.")
Rows = wholes(0, "batch - 1", "Order in which the rows of the cache are sent.", length="batch")
Unused = choice(
    UNUSED, "What the slots beyond each row's length hold in the cache that is sent; junk is 50."
)


def cache_of(
    answer: Any,
    *names: str,
    keep: int | None = None,
    rewind: int = 0,
    rows: Sequence[int] | None = None,
    lengths: str = "seq_lens",
) -> dict[str, Any]:
    """Return these tensors of a saved answer, or of a drawn cache, by name; each has its rows first.

    `keep` leaves their first tokens, which are the second axis; `rewind` is taken off the tensor `lengths` [rows].  A
    saved cache that is sent whole, or cut by `keep`, need not be known for that, so its request is made in advance:

        cache_of(case.saved["a"]["cache"], "key", "value", keep=3)
    """
    found = {name: getattr(answer[name], "values", answer[name]) for name in names}
    if keep is not None:
        found = {name: x[:, :keep] for name, x in found.items()}
    if rows is not None:
        found = {name: x[np.asarray(rows, np.int64)] for name, x in found.items()}
    if rewind:
        found[lengths] = found[lengths] - found[lengths].dtype.type(rewind)
    return found


def used_slots(lengths: Any, slots: int) -> Any:
    """Return which slots hold a token, bool [rows, slots]: in each row the first ones, as many as its length says."""
    used: Any = np.arange(slots) < np.asarray(lengths)[:, None]
    return used


def poisoned(
    buffers: Iterable[Any], used: Any, unused: str = "nan", *, axes: tuple[int, int] = (0, 1)
) -> tuple[Any, ...]:
    """Return buffers, float64, whose slots that hold no token hold what `unused` says instead of numbers.

    `used` [rows, slots] says which slots hold one; `axes` are the axes of rows and slots in a buffer, so a buffer
    [B, H, N, D] has `axes=(0, 2)`.  What is poisoned shows in the answer of a file that reads it.
    """
    made = []
    for buffer in buffers:
        shape = [1] * buffer.ndim
        shape[axes[0]], shape[axes[1]] = used.shape
        made.append(np.where(used.reshape(shape), buffer, UNUSED[unused]).astype(np.float64))
    return tuple(made)
