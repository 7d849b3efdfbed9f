"""The arena under Inspect, offline: its own scripted model mends one task wholly and another in part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="the extra `arena` is not installed")

from inspect_ai import eval as evaluate
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from grader.arena.adapters.inspect_task import find_bugs
from grader.arena.arena_task import PlantedFile
from grader.ground.errors import UserError

MOCK = "mockllm/model"


def called(name: str, **arguments: Any) -> ModelOutput:
    """Return an output that calls a tool; without its usage Inspect would fetch a tokeniser."""
    output = ModelOutput.for_tool_call(MOCK, name, arguments)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def mending(file: PlantedFile, target: str) -> ModelOutput:
    return called("replace_text", old=file.source, new=target)


@pytest.fixture
def script(tasks, scorer) -> Iterator[ModelOutput]:
    """Everything on the first task; mistakes, one fix and no more on the second."""
    first, second = (scorer.known(task.sealed).file for task in tasks)
    ((start, end), *_) = first.lines(first.planting.bugs[0])
    return iter(
        [
            called("read_file"),
            called("run_cases", cases="no-cache, one-token"),
            called("trace_case", case=tasks[0].public.symptoms[0].case),
            called("suspect_lines", first=start, last=min(end, start + 11), why="there"),
            mending(first, first.mended),
            called("submit", answer="done"),
            called("replace_text", old="no such passage", new="x"),
            called("run_cases", cases="no-such-case"),
            mending(second, second.without(second.planting.bugs[0])),
            called("submit", answer="done"),
        ]
    )


def test_a_scripted_model_gets_the_marks_it_earned(
    drawn, tasks, script, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = get_model(MOCK, custom_outputs=lambda *_: next(script))
    made = find_bugs(str(drawn), runs=3)
    (log,) = evaluate(made, model=model, max_samples=1, log_dir=str(tmp_path), display="plain")
    assert log.status == "success", log.error
    assert log.samples is not None
    whole, part = (sample.scores["arena_marks"] for sample in log.samples)
    assert whole.value["solved"] == whole.value["recall"] == whole.value["precision"] == 1.0
    assert whole.value["reward"] == 1.0
    assert whole.value["localisation"] >= 1 / 3
    assert (whole.metadata["looks"], whole.metadata["runs"], whole.metadata["edits"]) == (2, 1, 1)
    assert part.value["solved"] == 0.0
    assert part.value["recall"] == 1 / 3
    assert part.value["precision"] == 1.0
    assert (part.metadata["runs"], part.metadata["edits"]) == (0, 1)
    assert log.results is not None
    means = log.results.scores[0:]
    assert {score.name: score.metrics["mean"].value for score in means}["recall"] == 2 / 3


def test_what_is_sealed_is_not_in_a_sample(drawn, tasks) -> None:
    made = find_bugs(str(drawn))
    for sample, task in zip(made.dataset, tasks, strict=True):
        told = json.dumps([sample.input, sample.metadata, sample.target], default=str)
        for entry in [*task.sealed.bugs, *task.sealed.decoys]:
            assert entry.id not in told
        assert task.sealed.salt not in told
        assert task.public.symptoms[0].saw in str(sample.input)


def test_what_is_no_draw_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="is no task"):
        find_bugs(str(tmp_path))
