"""Pictures of a trace: the right cells are marked, large arrays are cut, nothing depends on the day."""

from __future__ import annotations

import re

import numpy as np
import pytest
from made_traces import (
    AXES,
    checkpoint,
    not_finite,
    scores,
    softmax,
    trace,
    unmasked,
    weights_checkpoint,
)

from grader.judge.result import Where
from grader.report.charts import cache_chart, error_chart
from grader.report.figures import figures_of
from grader.report.heatmap import COLUMNS, HEADS, ROWS, maps_of


def cells(maps):
    return [cell for head in maps.heads for panel in head for _, row in panel.rows for cell in row]


def test_each_head_shows_expected_actual_and_difference() -> None:
    maps = maps_of(weights_checkpoint(2, 6, wrong=unmasked))
    assert [len(head) for head in maps.heads] == [3, 3, 3]
    assert maps.heads[1][1].title == "head 1: your file"
    first = maps.heads[0]
    assert first[0].rows[0][1][5].text == "·"
    assert re.fullmatch(r"\.\d\d", first[1].rows[0][1][5].text)
    assert first[2].rows[0][1][5].text == "+" + first[1].rows[0][1][5].text


def test_the_first_difference_is_marked_where_the_file_is_wrong() -> None:
    made = weights_checkpoint(2, 6, wrong=unmasked)
    maps = maps_of(made)
    expected, actual, difference = maps.heads[0]
    _, head, row, column = made.place.index
    assert head == 0
    assert not any(cell.first for _, cells in expected.rows for cell in cells)
    for panel in (actual, difference):
        marked = [(r, c) for r, cells in panel.rows for c, cell in enumerate(cells) if cell.first]
        assert marked == [(row, column)]
    assert not any(cell.first for panel in maps.heads[1] for _, row in panel.rows for cell in row)


def test_equal_arrays_have_no_mark_and_no_shade_of_difference() -> None:
    maps = maps_of(weights_checkpoint(2, 6))
    assert not any(cell.first for cell in cells(maps))
    assert {cell.shade for _, row in maps.heads[0][2].rows for cell in row} == {"w0"}


def test_large_arrays_are_cut_around_the_first_difference() -> None:
    want = softmax(scores(9, 40, 90))
    got = want.copy()
    got[0, 7, 30, 60] += 0.5
    maps = maps_of(checkpoint("weights", want, got, AXES))
    assert len(maps.heads) == HEADS
    marked = [cell for cell in cells(maps) if cell.first]
    assert len(marked) == 2
    panel = maps.heads[0][1]
    assert panel.title == "head 7: your file"
    assert len(panel.rows) == ROWS
    assert len(panel.columns) == COLUMNS
    assert {30} <= {number for number, _ in panel.rows}
    assert {60} <= set(panel.columns)
    assert len(maps.notes) == 2


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 4), (1, 2, 2, 3, 4)])
def test_arrays_of_any_rank(shape) -> None:
    want = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    got = want.copy()
    got.flat[-1] = -1
    made = maps_of(checkpoint("scores", want, got, tuple(f"a{n}" for n in range(len(shape)))))
    assert sum(cell.first for cell in cells(made)) == 2


@pytest.mark.parametrize("shape", [(2, 3, 4), (2,), (2, 3, 2, 9)])
def test_another_shape_is_told_and_both_are_shown(shape) -> None:
    made = maps_of(checkpoint("weights", softmax(scores(3, 2, 6)), np.ones(shape), AXES))
    assert "no difference" in made.notes[0]
    assert [panel.title for panel in made.heads[0]] == [
        "first head: expected",
        "first head: your file",
    ]


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.zeros((2, 0)), None])
def test_what_has_no_numbers_has_no_picture(values) -> None:
    made = weights_checkpoint(2, 6)
    empty = (
        made.expected if values is None else checkpoint("weights", values, values, AXES).expected
    )
    empty = type(empty)((2, 3), "float32", values)
    assert maps_of(type(made)("weights", "weights", 0, "same", empty, empty)) is None


def test_missing_and_not_finite_values() -> None:
    assert len(maps_of(checkpoint("weights", softmax(scores(1, 2, 3)), None, AXES)).heads[0]) == 1
    shown = cells(maps_of(weights_checkpoint(2, 6, wrong=not_finite)))
    assert {"NaN"} <= {cell.text for cell in shown if cell.shade == "odd"}


def test_error_by_position_starts_where_the_cache_ends() -> None:
    chart = error_chart(trace(wrong=unmasked))
    assert "wrong at 4" in chart
    assert ">0</text>" in chart
    assert error_chart(trace()) is None
    assert "wrong at" in error_chart(trace(wrong=not_finite))


def test_cache_lengths_are_drawn_and_told() -> None:
    chart = cache_chart(trace(wrong=unmasked))
    assert "step 2: 6 expected, 2 in your file" in chart
    assert chart.count('class="got bad"') == 1
    assert chart.count('class="want"') == 2


def test_figures_tell_the_first_divergence_and_are_the_same_each_time() -> None:
    seen = figures_of(trace(wrong=unmasked))
    assert seen.sentence.startswith("step 2 (decode, 2 tokens), `weights`, batch 0, head 0")
    assert [maps.caption for maps in seen.maps] == ["step 2, `weights`, batch 0"]
    assert seen.steps[1].wrong == "`weights`, `output`"
    assert seen == figures_of(trace(wrong=unmasked))


def test_no_axis_is_named_that_the_array_does_not_have() -> None:
    want = np.arange(4)
    got = np.array([0, 1, 9, 3])
    ((expected, actual, difference),) = maps_of(checkpoint("head map", want, got, ("head",))).heads
    assert (expected.title, expected.axes) == ("expected", ("", "head"))
    assert [cell.text for _, row in actual.rows for cell in row] == ["·", "1", "9", "3"]
    assert [cell.text for _, row in difference.rows for cell in row] == ["·", "·", "+7", "·"]


def test_numbers_of_both_signs_have_two_colours_and_others_one() -> None:
    want = np.array([[-1.6, 1.5], [0.1, -np.inf]])
    signed = cells(maps_of(checkpoint("scores", want, want + 0.5, ("query", "key"))))
    shades = {cell.text: cell.shade for cell in signed[:4]}
    assert shades == {"−1.60": "less4", "1.50": "more4", ".10": "more1", "−∞": "odd"}
    plain = cells(maps_of(weights_checkpoint(2, 6)))
    assert {cell.shade[0] for cell in plain} == {"w"}


def test_the_same_number_has_the_same_colour_in_both_files() -> None:
    want = np.array([[1.0, 2.0]])
    maps = maps_of(checkpoint("scores", want, np.array([[1.0, -2.0]]), ("query", "key")))
    (expected, actual, _) = maps.heads[0]
    assert expected.rows[0][1][0].shade == actual.rows[0][1][0].shade == "more2"


def test_below_place_only_the_output_is_drawn_and_below_pattern_no_pattern_is_told() -> None:
    made = trace(wrong=unmasked)
    seen = figures_of(made, "symptom", Where(1, "output", (0, 0, 0)))
    assert [maps.caption for maps in seen.maps] == ["step 2, `output`"]
    assert (seen.sentence, seen.patterns, seen.steps, seen.cache) == ("", (), (), None)
    assert seen.errors is not None
    assert figures_of(made, "place").patterns == ()
    assert figures_of(made, "place").sentence
    assert figures_of(made, "pattern").patterns == ("Only after the cache.",)
    assert figures_of(trace(), "symptom", Where(0, "no such output")) is None
    assert figures_of(trace(), "symptom") is None
