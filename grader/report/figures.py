"""What a page shows of one traced case: the first divergence in words, heat maps, the error by position, the steps.

Only chooses and arranges; `heatmap` and `charts` make the pictures, `figures.html.j2` sets them on the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from markupsafe import Markup

from grader.content.entries import CAUSE, PATTERN, PLACE, tells
from grader.diagnose.trace_model import Checkpoint, FactPair, Trace, TracedStep
from grader.judge.result import Where
from grader.report.charts import cache_chart, error_chart
from grader.report.heatmap import Maps, maps_of

MOST_STEPS = 16
MOST_NAMES = 4


@dataclass(frozen=True)
class StepRow:
    """One row of the table of steps; the facts are those of `TracedStep`, by the same names.

    `number` counts from 1 and is empty for the creation; `wrong` names the checkpoints that differ, empty for none.
    """

    number: str
    title: str
    cache_length: FactPair | None
    scores: FactPair | None
    weight_sum: FactPair | None
    raised: FactPair | None
    wrong: str


@dataclass(frozen=True)
class Figures:
    """Everything drawn of one case.

    `sentence` is the first divergence and `patterns` how it looks; `errors` and `cache` are charts as SVG, None where
    there is nothing to draw; `note` says why the trace stops early, empty where it does not.
    """

    sentence: str
    patterns: tuple[str, ...]
    maps: tuple[Maps, ...]
    errors: Markup | None
    cache: Markup | None
    steps: tuple[StepRow, ...]
    note: str


def figures_of(trace: Trace, level: str = CAUSE, where: Where | None = None) -> Figures | None:
    """Return the figures of a traced case, as far as the level tells them; None when there is nothing to show.

    Below `place` these are of the output that was compared, at `where`, and of nothing inside the run.
    """
    if not tells(level, PLACE):
        return _symptom(trace, where)
    rows = [_row(step) for step in trace.steps[:MOST_STEPS]]
    has_facts = any(row.cache_length or row.scores or row.raised for row in rows)
    # the creation has a row only where something is wrong in it
    steps = tuple(row for row in rows if row.number or row.wrong) if has_facts else ()
    divergence = trace.divergence
    maps = tuple(_maps(trace))
    if divergence is None and not maps:
        return None
    told = divergence is not None and tells(level, PATTERN)
    patterns = divergence.checkpoint.sentences if divergence and told else ()
    return Figures(
        divergence.sentence() if divergence else "",
        patterns,
        maps,
        error_chart(trace),
        cache_chart(trace),
        steps,
        trace.ended or "",
    )


def _symptom(trace: Trace, where: Where | None) -> Figures | None:
    """Return what came back and what should have: the output where it differs, and its error by position."""
    steps = [step for step in trace.steps if where and step.index == where.step]
    # outputs are compared behind everything inside the step, which may have a checkpoint of that name
    found = [p for step in steps for p in step.checkpoints if where and p.name == where.output]
    maps = tuple(_drawn(steps[0].index, found[-1], "")) if found else ()
    errors = error_chart(trace)
    return Figures("", (), maps, errors, None, (), "") if maps or errors else None


def _maps(trace: Trace) -> Iterator[Maps]:
    """Yield the checkpoint of the first divergence, and the attention weights if that is not theirs.

    The weights are shown where they first differ; where they nowhere do, the last ones, with a remark that they are
    right.
    """
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
        remark = "" if weights[1].status == "differs" else ": these are right"
        yield from _drawn(weights[0].index, weights[1], remark)


def _drawn(step: int, checkpoint: Checkpoint, remark: str) -> Iterator[Maps]:
    maps = maps_of(checkpoint)
    if maps is not None:
        where = "creation" if step < 0 else f"step {step + 1}"
        yield replace(maps, caption=f"{where}, {maps.caption}{remark}")


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
