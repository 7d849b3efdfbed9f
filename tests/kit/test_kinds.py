"""A kind says three things of a value: its schema, whether a default may be it, and random ones."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator

from grader.kit import (
    choice,
    choices,
    constant,
    listed,
    named_object,
    numbers,
    one_of,
    real,
    saved,
    switch,
    text,
    whole,
    wholes,
)
from grader.kit.choice_sequence import ChoiceSequence
from grader.kit.kinds import Kind, Known, parameters
from grader.kit.mistakes import DriverError

SIZES = {"batch": 3, "capacity": 40}
LARGEST = {"batch": 8, "capacity": 128}


class Kept:
    of: saved("Name.")
    keep: whole(1, 64, "First tokens.") = None


class Unseen:
    random: whole(1, 9, "Tokens.")


RANDOM: dict[str, Kind] = {
    "whole": whole(0, 64, "Tokens."),
    "usual whole": whole(0, 64, "Tokens.", usual=(1, 5)),
    "bounded by a size": whole(0, "capacity", "Slot."),
    "one less than a size": whole(0, "batch - 1", "Row."),
    "multiple": whole(3, 60, "Even.", multiple=4),
    "negative": whole(-9, -2, "Below."),
    "free whole": whole(None, None, "Any."),
    "real": real(0, 10, "Factor."),
    "real above": real(0, 1, "Rate.", above=True),
    "small real": real(0.1, 0.2, "Rate."),
    "free real": real(None, None, "Any.", none=True),
    "switch": switch("Flag."),
    "choice": choice(("a", "b"), "One."),
    "late choice": choice(lambda: ["c", "d"], "One."),
    "choices": choices(choice(("a", "b", "c"), "One."), "Some.", length=(1, 3)),
    "wholes": wholes(0, "capacity", "Lengths.", length="batch"),
    "few wholes": wholes(0, 9, "Numbers.", length=(0, 4)),
    "list": listed(switch("Flag."), "Flags.", (1, 3)),
    "texts": listed(text("Word.", 9, usual=("a", "b")), "Words.", (0, 3)),
    "constant": constant(True, "True."),
    "saved": saved("Name."),
    "form": one_of("A cache.", Kept, Unseen),
}
STATED = {
    "numbers": numbers("Any."),
    "text": text("A text.", 9),
    "object": named_object("An object."),
    "anything": listed(None, "Anything.", (0, 3)),
    "objects": listed(named_object("One."), "Objects.", (0, 3)),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_values_follow_the_schema(name: str) -> None:
    kind = RANDOM[name]
    known = Known(SIZES, ("a", "b"))
    assert kind.drawable(known)
    schema = Draft202012Validator(kind.schema(SIZES))
    seen = set()
    for seed in range(200):
        for draw in (kind.random, kind.large):
            value = draw(ChoiceSequence.seeded(seed), known)
            assert not list(schema.iter_errors(value)), value
            seen.add(repr(value))
    assert len(seen) > 1 or name == "constant"


@pytest.mark.parametrize("name", STATED)
def test_what_an_author_must_write_is_not_drawn(name: str) -> None:
    assert not STATED[name].drawable(Known(SIZES, ("a",)))


def test_nothing_is_drawn_that_the_sizes_do_not_allow() -> None:
    assert not whole(0, "batch - 1", "Row.").drawable(Known({"batch": 0}))
    assert not whole(0, "capacity", "Slot.").drawable(Known({"capacity": None}))
    assert not wholes(0, 9, "Lengths.", length="batch").drawable(Known({}))
    assert not saved("Name.").drawable(Known(SIZES))
    forms = one_of("A cache.", Kept, Unseen)
    for seed in range(20):
        assert forms.random(ChoiceSequence.seeded(seed), Known(SIZES)).keys() == {"random"}


def test_the_plainest_choices_give_the_plainest_value() -> None:
    def plainest(kind: Kind) -> Any:
        return kind.random(ChoiceSequence.replayed([]), Known(SIZES, ("a", "b")))

    assert plainest(whole(0, 64, "Tokens.", usual=(1, 5))) == 1
    assert plainest(switch("Flag.")) is False
    assert plainest(choice(("a", "b"), "One.")) == "a"
    assert plainest(saved("Name.")) == "b", "the latest answer"
    assert plainest(real(None, None, "Any.")) == 1.0


def test_a_large_value_lies_beyond_the_usual_ones() -> None:
    tokens = whole(0, 100, "Tokens.", usual=(1, 5))
    drawn = {tokens.large(ChoiceSequence.seeded(seed), Known({})) for seed in range(200)}
    assert min(drawn) > 5
    assert {16, 17, 33, 65} <= drawn <= set(range(101))


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (whole(0, 64, "T."), {"type": "integer", "minimum": 0, "maximum": 64}),
        (whole(0, "batch - 1", "T."), {"type": "integer", "minimum": 0, "maximum": 7}),
        (
            whole(2, 8, "T.", multiple=2),
            {"type": "integer", "minimum": 2, "maximum": 8, "multipleOf": 2},
        ),
        (real(0, 1, "T.", above=True), {"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
        (real(None, None, "T.", none=True), {"type": ["number", "null"]}),
        (switch("T."), {"type": "boolean"}),
        (choice({"a": 1, "b": 2}, "T."), {"enum": ["a", "b"]}),
        (
            wholes(0, "capacity", "T.", length="batch"),
            {
                "type": "array",
                "items": {"type": "integer", "minimum": 0, "maximum": 128},
                "maxItems": 8,
            },
        ),
        (
            whole(0, 3, "T.", refused=(-1,)),
            {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 3}, {"enum": [-1]}]},
        ),
    ],
)
def test_a_schema_says_the_range_and_the_text(kind: Kind, schema: dict[str, Any]) -> None:
    assert kind.schema(LARGEST) == {**schema, "description": "T."}
    Draft202012Validator.check_schema(kind.schema(LARGEST))


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        (whole(0, 9, "T.", refused=(-1, 99)), lambda value: value in (-1, 99)),
        (wholes(0, 9, "T.", length=(2, 3), refused=(-1,)), lambda value: value.count(-1) == 1),
        (listed(switch("F."), "T.", (0, 3), refused=([],)), lambda value: value == []),
        (choice(("a", "b"), "T.", refused=("c",)), lambda value: value == "c"),
    ],
)
def test_refused_values_are_drawn_where_a_refusal_is_wanted(kind: Kind, refused: Any) -> None:
    check = Draft202012Validator(kind.schema({}))
    assert kind.refuses
    for seed in range(50):
        value = kind.random_refused(ChoiceSequence.seeded(seed), Known({}))
        assert refused(value)
        assert check.is_valid(value), "a case may state it"
        assert not refused(kind.random(ChoiceSequence.seeded(seed), Known({}))) or value == []
    assert not whole(0, 9, "T.").refuses


@pytest.mark.parametrize(
    "kind", [choice(("a", "b"), "T.", none=True), whole(0, 3, "T.", none=True)]
)
def test_null_can_be_allowed(kind: Kind) -> None:
    check = Draft202012Validator(kind.schema({}))
    assert check.is_valid(None)
    assert not check.is_valid([])
    drawn = [kind.random(ChoiceSequence.seeded(seed), Known({})) for seed in range(50)]
    assert None in drawn
    assert all(check.is_valid(value) for value in drawn)


def test_numbers_may_be_of_a_shape() -> None:
    kind = numbers("Visible.", shape=[(1, 2), (1, 3)], type=bool)
    check = Draft202012Validator(kind.schema({}))
    assert check.is_valid({"values": [[True, False, True]]})
    for wrong in (
        {"values": [True]},
        {"values": [[1]]},
        {"values": [[True] * 4]},
        {"values": [[True]], "dtype": "bool"},
        {},
    ):
        assert not check.is_valid(wrong)
    whole_numbers = Draft202012Validator(numbers("P.", shape=[(1, 2)], within=(0, 9)).schema({}))
    assert whole_numbers.is_valid({"values": [9]})
    assert not whole_numbers.is_valid({"values": [10]})


def test_stated_numbers_may_stand_beside_a_kind() -> None:
    check = Draft202012Validator(whole(1, 9, "Ids.", numbers=True).schema({}))
    assert check.is_valid(3)
    assert check.is_valid({"values": [[-1.5]], "dtype": "float32"})
    assert not check.is_valid({"values": [1], "shape": [1]})


def test_a_value_says_which_saved_answers_it_speaks_of() -> None:
    assert saved("Name.").saved("a") == ["a"]
    assert saved("Name.").saved(None) == []
    forms = one_of("A cache.", Kept, Unseen)
    assert forms.saved({"of": "a", "keep": 3}) == ["a"]
    assert forms.saved({"random": 3}) == []
    of_state = text(
        "State.", 9, names_saved=lambda name: name.partition(".")[0] if "." in name else None
    )
    assert listed(of_state, "States.", (1, 3)).saved(["root", "b.1", "c.0"]) == ["b", "c"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: whole(5, 4, "T."), "the range from 5 to 4 is empty"),
        (lambda: real(1, 1, "T.", above=True), "the range from 1 to 1 is empty"),
        (lambda: whole(0, None, "T."), "both ends"),
        (lambda: whole(0, 9, "T.", usual=(3, 10)), "goes beyond 0 to 9"),
        (lambda: whole(0, 9, "T.", usual=(3, 2)), "usual range from 3 to 2 is empty"),
        (lambda: choice((), "T."), "a choice of nothing"),
        (lambda: wholes(0, 9, "T.", length=(3, 2)), "from 3 to 2 items"),
        (lambda: text("T.", 9, "("), "no regular expression"),
        (lambda: whole(0, 9, "T.", least=3), "unexpected keyword argument 'least'"),
    ],
)
def test_a_mistake_is_told_with_the_line_of_the_call(wrong: Any, told: str) -> None:
    with pytest.raises(DriverError, match=told) as caught:
        wrong()
    assert caught.value.line == wrong.__code__.co_firstlineno


def test_a_kind_may_stand_in_a_type_that_checkers_understand() -> None:
    def source(case: Any, tokens: Annotated[int, whole(0, 9, "Tokens.")] = 1) -> None: ...

    (item,) = parameters(source).values()
    assert (item.name, item.default, item.required) == ("tokens", 1, False)
    assert item.kind.text == "Tokens."
