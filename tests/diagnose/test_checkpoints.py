"""points.json: what its keys mean to code, what the recorder is asked for, and which bugs belong to which stage."""

from __future__ import annotations

import dataclasses
import json

import msgspec
import pytest

from grader.content import ContentError, load_challenge
from grader.diagnose.checkpoints import (
    OUTPUT,
    load_checkpoints,
    parse_checkpoints,
    stage_of,
    undefined_methods,
)


def test_keys_of_the_file_become_fields() -> None:
    made = parse_checkpoints(
        {
            "points": [
                {
                    "name": "tile",
                    "method": "_decode>_dot",
                    "enter": 0,
                    "family": "softmax numerics",
                    "families": {"rows": "batching & padding"},
                    "self": ["size"],
                    "look": ["0.get"],
                    "writes": ["out"],
                    "op": "weights",
                    "settles": ["scores"],
                    "values": False,
                    "filled": "1",
                }
            ],
            "facts": {"weights": {"point": "tile", "axis": 3, "tiles": True}},
        }
    )
    (spec,) = made.specs
    assert (spec.argument, spec.bug_class) == (0, "softmax numerics")
    assert spec.bug_class_by_kind == {"rows": "batching & padding"}
    assert (spec.object_paths, spec.result_paths, spec.written) == (("size",), ("0.get",), ("out",))
    assert (spec.torch_function, spec.supersedes) == ("weights", ("scores",))
    assert (spec.compare_values, spec.filled_by) == (False, "1")
    fact = made.facts["weights"]
    assert (fact.checkpoint, fact.axis, fact.every_call) == ("tile", 3, True)


def test_title_and_stage_are_the_name_unless_given() -> None:
    made = parse_checkpoints(
        {
            "points": [
                {"name": "mask", "method": "_mask"},
                {"name": "row", "method": "row", "title": "row without padding", "stage": "cache"},
            ]
        }
    )
    assert [(spec.title, spec.stage) for spec in made.specs] == [
        ("mask", "mask"),
        ("row without padding", "cache"),
    ]


def test_an_output_is_described_by_the_longest_prefix() -> None:
    made = parse_checkpoints(
        {"points": [], "outputs": {"cache": {"stage": "cache"}, "cache/k": {"stage": "keys"}}}
    )
    assert made.output("cache/key").stage == "keys"
    assert made.output("cache/value").stage == "cache"
    assert made.output("logits") == OUTPUT
    assert OUTPUT.is_output
    assert made.output("cache/key").is_output


def test_the_recorder_is_asked_for_each_method_once() -> None:
    made = parse_checkpoints(
        {
            "points": [
                {"name": "kept", "method": "Cache.update", "self": ["size", "get"]},
                {"name": "kept again", "method": "Cache.update", "self": ["get"], "look": ["len"]},
                {"name": "given", "method": "Cache.update", "enter": 0, "look": ["shape"]},
                {"name": "caller", "method": "Cache.update", "enter": -1},
                {"name": "weights", "op": "weights"},
            ]
        }
    )
    assert made.wanted() == {
        "Cache.update": {
            "arguments": {0: ["shape"], -1: []},
            "object_paths": ["size", "get"],
            "result_paths": ["len"],
            "written": [],
            "apart": [],
        }
    }


def test_methods_are_undefined_wherever_the_file_might_define_them() -> None:
    made = parse_checkpoints(
        {
            "points": [
                {"name": "a", "method": "_split"},
                {"name": "b", "method": "Cache.update"},
                {"name": "c", "method": "_decode>_dot"},
                {"name": "d", "op": "weights"},
            ]
        }
    )
    source = "class Other:\n    def update(self): ...\n\ndef _dot(a): ...\n"
    assert undefined_methods(made, source) == {"_split", ""}


def test_a_bug_has_the_stage_of_the_method_it_stands_in_unless_the_file_says_otherwise() -> None:
    challenge, bug = load_challenge("multi_head_attention"), "seed-split-heads-view-order"
    made = load_checkpoints(challenge)
    assert bug not in made.stages
    assert stage_of(challenge, made, bug) == "split heads"
    moved = msgspec.structs.replace(made, stages={bug: "elsewhere"})
    assert stage_of(challenge, moved, bug) == "elsewhere"
    none = msgspec.structs.replace(made, specs=())
    assert stage_of(challenge, none, bug) is None


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"points": 1},
        {"points": [{"method": "no name"}]},
        {"points": [{"name": "a", "enter": "0"}]},
        {"points": [{"name": "a", "stgae": "x"}]},
        {"points": [], "outputs": {"a": 1}},
        {"points": [], "facts": {"weights": {"axis": "3"}}},
        {"points": [], "stages": []},
    ],
)
def test_a_damaged_file_is_one_line_with_its_path(tmp_path, document) -> None:
    challenge = dataclasses.replace(load_challenge("multi_head_attention"), folder=tmp_path)
    (tmp_path / "points.json").write_text(json.dumps(document))
    with pytest.raises(ContentError) as raised:
        load_checkpoints(challenge)
    assert "points.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_challenge_may_be_without_the_file(tmp_path) -> None:
    challenge = dataclasses.replace(load_challenge("multi_head_attention"), folder=tmp_path)
    assert load_checkpoints(challenge).specs == ()
