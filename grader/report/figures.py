"""What the page shows of one traced case: the first divergence in words, heat maps, the error by position, the steps.

Only chooses and arranges; `heatmap` and `charts` make the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from grader.diagnose.trace_model import Checkpoint, FactPair, Trace, TracedStep
from grader.report.charts import cache_chart, error_chart
from grader.report.heatmap import Maps, maps_of

MOST_STEPS = 16
MOST_NAMES = 4


@dataclass(frozen=True)
class StepRow:
    """One step of the timeline; the pairs are (expected, actual) where the step has them."""

    number: str
    title: str
    cache: FactPair | None
    scores: FactPair | None
    weights: FactPair | None
    raised: FactPair | None
    wrong: str


@dataclass(frozen=True)
class Figures:
    """Everything drawn of one case."""

    sentence: str
    patterns: tuple[str, ...]
    maps: tuple[Maps, ...]
    errors: Markup | None
    cache: Markup | None
    steps: tuple[StepRow, ...]
    note: str


def figures_of(trace: Trace) -> Figures | None:
    """Return the figures of a traced case; None when there is nothing to show."""
    rows = [_row(step) for step in trace.steps[:MOST_STEPS]]
    told = any(row.cache or row.scores or row.raised for row in rows)
    steps = tuple(row for row in rows if row.number or row.wrong) if told else ()
    divergence = trace.divergence
    maps = tuple(_maps(trace))
    if divergence is None and not maps:
        return None
    patterns = divergence.checkpoint.sentences if divergence else ()
    return Figures(
        divergence.sentence() if divergence else "",
        patterns,
        maps,
        error_chart(trace),
        cache_chart(trace),
        steps,
        trace.ended or "",
    )


def _maps(trace: Trace) -> Iterator[Maps]:
    """Yield the attention weights where they first differ, and the point of the first divergence if it is another."""
    checkpoints = [(step, checkpoint) for step in trace.steps for checkpoint in step.checkpoints]
    weights = next(((s, p) for s, p in checkpoints if _weights(p) and p.status == "differs"), None)
    if weights is None:
        weights = next(
            ((s, p) for s, p in reversed(checkpoints) if _weights(p) and p.expected), None
        )
    first = trace.divergence.checkpoint if trace.divergence else None
    if first is not None and not (weights and weights[1] is first):
        yield from _drawn(trace.divergence.step if trace.divergence else 0, first, "")
    if weights is not None:
        same = "" if weights[1].status == "differs" else ": these are right"
        yield from _drawn(weights[0].index, weights[1], same)


def _drawn(step: int, checkpoint: Checkpoint, remark: str) -> Iterator[Maps]:
    maps = maps_of(checkpoint)
    if maps is not None:
        where = "creation" if step < 0 else f"step {step + 1}"
        yield Maps(f"{where}, {maps.caption}{remark}", maps.heads, maps.notes)


def _weights(checkpoint: Checkpoint) -> bool:
    return checkpoint.name == "weights" and checkpoint.expected is not None


def _row(step: TracedStep) -> StepRow:
    wrong = list(dict.fromkeys(f"`{p.title}`" for p in step.checkpoints if p.status != "same"))
    if len(wrong) > MOST_NAMES:
        wrong = [*wrong[:MOST_NAMES], f"{len(wrong) - MOST_NAMES} more"]
    return StepRow(
        "" if step.index < 0 else str(step.index + 1),
        step.title,
        step.cache_length,
        step.scores,
        step.weight_sum,
        step.raised,
        ", ".join(wrong),
    )
