"""Objects and numbers that a case names, and inputs of one name from several sources."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import make_dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from grader.content import load_challenge
from grader.judge.cost import CostCounter, TooExpensive
from grader.judge.draw import Draw
from grader.judge.request_cache import Answers
from grader.judge.script import Script
from grader.kit import answers, fields_of, guarded
from grader.kit.answers import Wrong
from grader.kit.choice_sequence import ChoiceSequence
from grader.kit.json_schema import verb_schemas
from grader.kit.scenarios import random_case

DRIVER = '''
from grader.kit import (
    choice, guarded, listed, made, named_object, switch, text, verb, whole,
)

Box = named_object("Box.")


class Setup:
    """Sizes."""

    width: whole(1, 8, "Width.")


@made("x", "y")
def pair(case, count: whole(0, 4, "Rows.")):
    return {"x": case.draw(count, case.width)} if count < 4 else (case.draw(4), case.draw(1))


@made("x", "y")
def named(case, names: listed(text("Name.", 5, "^[a-z]+$"), "Names.", (1, 3), numbers=True)):
    return [case.named(name, case.width) for name in names], len(names)


@verb
def take(file, x, y):
    """Take the first pair,
    as it is made."""
    return {"x": x, "y": y}


@verb
def states(file, y, x: named):
    """Look at named states."""
    return {"x": x, "y": y}


@verb
def box(file, into: text("Name.", 9), content: whole(0, 9, "Content.")):
    """Make a box."""
    file.objects[into] = file.Box(content)


@verb
def opened(file, of: Box = "main", others: listed(Box, "Others.", (0, 3)) = (), spare: Box = None):
    """Look into boxes."""
    return {"content": of.content, "others": [item.content for item in others], "spare": spare}


@verb("hidden")
def hidden(file, of: Box):
    """Look at what only some boxes have."""
    return guarded(of)._hidden


@verb
def pick(
    file,
    names: listed(choice(("a", "b"), "One."), "All.", (2, 2)),
    flags: listed(switch("Flag."), "Flags.", (1, 2)),
    anything: listed(None, "Anything.", (0, 4)) = (),
):
    """Pick."""
    return {}
'''


@pytest.fixture
def sides(sides_of: Any) -> Any:
    return sides_of(DRIVER)


def plan_of(sides: Any, step: int = 0) -> Any:
    draw = Draw(5, "float32")
    draw.at(step)
    return sides[0]({"width": 3}, draw)


def worker_of(sides: Any) -> Any:
    worker = sides[1](SimpleNamespace(Box=lambda content: SimpleNamespace(content=content)))
    for name, content in (("main", 1), ("a", 2), ("b", 3)):
        worker.box(into=name, content=content)
    return worker


def test_numbers_of_a_name_are_the_same_in_every_step() -> None:
    draw, other = Draw(5, "float16"), Draw(5, "float16")
    draw.at(0)
    first = draw.named("root", 4)
    draw.at(7)
    draw(9)
    other.at(7)
    assert (draw.named("root", 4) == first).all()
    assert (other.named("root", 4) == first).all()
    assert (draw.named("leaf", 4) != first).any()
    assert (Draw(6, "float16").named("root", 4) != first).any()
    assert (first.astype(np.float16) == first).all(), "the case's dtype holds them"


def test_numbers_of_a_name_move_nothing_that_the_step_draws_itself() -> None:
    draw, other = Draw(5, "float32"), Draw(5, "float32")
    for item in (draw, other):
        item.at(2)
        item(3)
    draw.named("root", 1000)
    assert (draw(3) == other(3)).all()


def test_a_refused_shape_leaves_the_step_where_it_was() -> None:
    draw, other = Draw(5, "float32"), Draw(5, "float32")
    draw.at(0)
    other.at(0)
    with pytest.raises(ValueError, match="no shape"):
        draw.named("root", -1)
    assert (draw(3) == other(3)).all()


def test_numbers_of_a_name_are_part_of_the_digest_of_each_step_that_asks_for_them() -> None:
    draw = Draw(5, "float32")
    for step in (0, 1):
        draw.at(step)
        draw.named("root", 4)
    draw.at(2)
    draw.named("root", 5)
    digests = draw.digests
    assert digests[0] == digests[1] != digests[2]


def test_numbers_of_a_name_are_counted_among_a_cases_costs() -> None:
    case = next(iter(load_challenge("world_model_cache").cases.values()))
    counter = CostCounter(case)
    counter.at(0)
    counter.named("root", 100)
    assert counter.numbers == 100
    with pytest.raises(TooExpensive):
        counter.named("root", 10**9)


def test_a_rounding_of_all_inputs_moves_a_named_state_in_every_step_alike() -> None:
    shaken = Draw(5, "float32", jitter=1)
    shaken.at(0)
    first = shaken.named("root", 8)
    shaken.at(3)
    assert (shaken.named("root", 8) == first).all()
    assert (Draw(5, "float32").named("root", 8) != first).any()


@pytest.mark.parametrize("name", ["world_model_cache", "conversation_prefix", "paged_cache"])
def test_what_a_step_draws_depends_on_no_step_before(name: str) -> None:
    challenge = load_challenge(name)
    for case in challenge.cases.values():
        forwards, backwards = (Script(challenge, case, saved=Answers()) for _ in range(2))
        known = forwards.precomputed()
        for step in reversed(backwards.indices):
            if step in known:
                again = backwards.request(step)
                assert again.args == known[step].args, (case.id, step)
                assert again.tensors.keys() == known[step].tensors.keys(), (case.id, step)
                for item, other in zip(
                    again.tensors.values(), known[step].tensors.values(), strict=True
                ):
                    assert item.values.tobytes() == other.values.tobytes(), (case.id, step)
                assert backwards.draw.digests[step] == forwards.draw.digests[step]


def test_only_a_state_that_was_predicted_has_to_wait_for_an_answer() -> None:
    challenge = load_challenge("world_model_cache")
    for case in challenge.cases.values():
        script = Script(challenge, case, saved=Answers())
        waits = set(script.indices) - script.precomputed().keys()
        predicted = {
            index
            for index, step in enumerate(case.steps)
            if isinstance(step.get("states"), list) and any("." in s for s in step["states"])
        }
        assert waits == predicted, case.id


def test_a_verb_gets_the_objects_that_a_case_names(sides: Any) -> None:
    worker = worker_of(sides)
    assert worker.opened() == {"content": 1, "others": [], "spare": None}
    assert worker.opened(of="b", others=["a", "main"])["others"] == [2, 1]
    assert worker.opened(of="b", others=[])["content"] == 3
    assert worker.opened(spare="a")["spare"].content == 2


@pytest.mark.parametrize("step", [{"of": "c"}, {"others": ["a", "c"]}, {"spare": "c"}])
def test_a_name_that_stands_for_nothing_is_said(sides: Any, step: Any) -> None:
    with pytest.raises(Wrong, match="no step before kept anything under the name 'c'"):
        worker_of(sides).opened(**step)


def test_objects_are_one_submissions_own(sides: Any) -> None:
    worker_of(sides)
    with pytest.raises(Wrong, match="'main'"):
        sides[1](SimpleNamespace()).opened()


def test_a_helper_of_an_object_is_looked_up_as_one_of_the_file(sides: Any) -> None:
    assert sides.driver.all_helpers() == ["_hidden"]
    answers.asked.clear()
    with pytest.raises(Wrong) as caught:
        worker_of(sides).hidden(of="a")
    assert (caught.value.kind, caught.value.name) == ("missing", "_hidden")
    assert answers.asked[-1] == "_hidden"
    assert guarded(SimpleNamespace(_hidden=len))._hidden is len


def test_a_field_may_be_an_object_with_the_method_that_is_looked_for() -> None:
    chat = SimpleNamespace(_template=SimpleNamespace(render=len), _text="")
    assert answers.need(chat, "_template", having="render") is chat._template
    for name, method in (("_template", "parse"), ("_text", "render")):
        with pytest.raises(Wrong, match=f"`{name}` has no function `{method}`") as caught:
            answers.need(chat, name, having=method)
        assert (caught.value.kind, caught.value.name) == ("missing", name)


@pytest.mark.parametrize("value", [4, None, "", (), {}, SimpleNamespace()])
def test_a_field_of_a_helpers_name_is_not_the_helper(sides: Any, value: Any) -> None:
    with pytest.raises(Wrong, match="`_hidden` is not a function") as caught:
        _ = guarded(SimpleNamespace(_hidden=value))._hidden
    assert (caught.value.kind, caught.value.name) == ("missing", "_hidden")
    assert guarded(SimpleNamespace(hidden=value)).hidden is value
    tuned = SimpleNamespace(run=print)  # as a kernel that Triton tunes
    assert guarded(SimpleNamespace(_hidden=tuned))._hidden is tuned


def test_fields_are_read_by_name_whatever_holds_them() -> None:
    made = {"size": 1, "rate": None}
    named = namedtuple("Named", made)(**made)
    for answer in (made, named, SimpleNamespace(**made), make_dataclass("Data", made)(**made)):
        assert fields_of(answer) == made
    slots = make_dataclass("Slots", made, slots=True)(**made)
    assert fields_of(slots) == made
    assert fields_of([5, 6]) == {"0": 5, "1": 6}
    assert fields_of(3) == {}
    assert fields_of({**made, "more": 2}, "rate", "size", "absent") == made


class Report:
    size = 1

    @property
    def rate(self) -> float:
        return self.size / 2


def test_fields_asked_for_by_name_may_be_properties() -> None:
    assert fields_of(Report(), "rate", "size", "absent") == {"size": 1, "rate": 0.5}
    with pytest.raises(Wrong, match="returned None"):
        fields_of(None, "size")


def test_without_an_answer_there_are_no_fields() -> None:
    with pytest.raises(Wrong, match="returned None"):
        fields_of(None)


def test_what_a_source_leaves_out_is_not_sent(sides: Any) -> None:
    plan = plan_of(sides)
    assert plan.inputs("take", {"count": 2}).keys() == {"x"}
    assert plan.inputs("take", {"count": 4}).keys() == {"x", "y"}
    assert worker_of(sides).take(x=1) == {"x": 1, "y": None}


def test_an_input_comes_from_the_source_that_the_verb_names_else_from_the_first(
    sides: Any,
) -> None:
    verbs = sides.driver.verbs
    assert list(verbs["take"].parameters) == ["count"]
    assert list(verbs["states"].parameters) == ["names"]
    sent = plan_of(sides).inputs("states", {"names": ["a", "b", "a"]})
    assert sent["y"] == 3
    assert (sent["x"][0] == sent["x"][2]).all()


def test_the_schema_says_what_texts_lists_and_names_may_be(sides: Any) -> None:
    verbs = verb_schemas(sides.driver)
    assert verbs["take"]["description"] == "Take the first pair, as it is made."
    into = {"type": "string", "maxLength": 9, "description": "Name."}
    assert verbs["box"]["properties"]["into"] == into
    box = {"type": "string", "pattern": "^[a-z][a-z0-9._-]*$", "maxLength": 40}
    box |= {"description": "Box."}
    opened = verbs["opened"]["properties"]
    assert opened["of"] == opened["spare"] == box
    assert opened["others"] == {
        "type": "array",
        "items": box,
        "maxItems": 3,
        "description": "Others.",
    }
    names, stated = verbs["states"]["properties"]["names"]["oneOf"]
    assert names["items"]["pattern"] == "^[a-z]+$"
    assert (names["minItems"], names["maxItems"]) == (1, 3)
    assert stated["required"] == ["values"]
    picked = verbs["pick"]["properties"]
    assert picked["names"]["items"] == {"enum": ["a", "b"], "description": "One."}
    assert picked["flags"]["items"] == {"type": "boolean", "description": "Flag."}
    assert picked["anything"] == {"type": "array", "maxItems": 4, "description": "Anything."}
    assert verbs["pick"]["required"] == ["names", "flags"]


def test_random_cases_ask_for_no_verb_that_must_name_something(sides: Any) -> None:
    seen = set()
    for seed in range(60):
        for step in random_case(sides.driver, ChoiceSequence.seeded(seed), seed)["steps"]:
            seen.add(step["do"])
            if step["do"] == "pick":
                assert sorted(step["names"]) == ["a", "b"]
                assert all(isinstance(flag, bool) for flag in step["flags"])
            assert not step.keys() & {"of", "others", "spare", "anything"}
    assert seen == {"take", "pick", "opened"}


EATEN = '''
from grader.kit import both_sides, made, verb, whole


class Setup:
    """Sizes."""

    width: whole(1, 8, "Width.")


@made("weights")
def weights(case):
    return {"a": case.draw(2), "b": case.draw(2)}


@verb
def build(file, weights):
    """Build a model, and read a weight."""
    file.Model(weights)
    return {"b": weights["b"]}
'''


def test_a_dictionary_that_the_file_emptied_is_named_where_the_driver_needs_it(
    sides_of: Any,
) -> None:
    def built(model: Any) -> Any:
        return sides_of(EATEN)[1](SimpleNamespace(Model=model)).build(weights={"a": 1, "b": 2})

    assert built(dict) == {"b": 2}
    with pytest.raises(Wrong, match="the call changed its argument `weights`") as caught:
        built(lambda weights: weights.pop("b"))
    assert caught.value.kind == "mutated_input"
    theirs = {"__name__": "submission"}
    exec("def model(weights):\n    weights.clear()\n    raise KeyError('own')", theirs)
    with pytest.raises(KeyError, match="own"):
        built(theirs["model"])
