"""The trusted side makes the inputs of a step, the worker's side makes the call: what goes over and comes back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from grader.judge.draw import Draw
from grader.judge.request_cache import Answers
from grader.kit import Wrong

DRIVER = '''
from grader.kit import both_sides, drawn, helper, made, parts, saved, spoil, switch, verb, whole


class Setup:
    """Sizes."""

    rows: whole(1, 8, "Rows.")
    slots: whole(0, 64, "Slots.") = 16


class Options:
    scale: whole(0, 9, "Scale.")
    slots: whole(0, 64, "The argument slots; the size unless given.", otherwise="slots")


@drawn(query="Query", key="Key")
def new(case, tokens: whole(0, 9, "Tokens.") = 1):
    return case.draw(case.rows, tokens), case.draw(case.rows, tokens)


@made(past=("key", "lens"))
def past(case, cache: saved("Cache.") = None, fill: whole(0, 9, "Fill.") = None):
    if cache:
        return {"key": case.saved[cache]["key"].values, "lens": case.saved[cache]["lens"].values}
    return None if fill is None else {"key": case.draw(fill), "lens": fill}


@made("stolen")
def stolen(case):
    return case.saved["a"]


@verb
def create(file, dtype):
    file.keep.dtype = dtype
    file.use(file.make())


@verb("output", "cache", spoils={"longer": spoil("query key", lambda x: [*x, 0])})
def forward(it, query, key, past, flag: switch("Flag.") = False, **options: Options):
    return it.forward(query, key, past, flag, options)


@verb("seen")
def look(it, key):
    return it.look(key)


@verb
def thief(it, stolen):
    return {"stolen": stolen}


@verb
def late(it):
    it.use(it.make())


@verb
def keeps(it, query):
    return {"dtype": it.keep.dtype, "file": it.file.name}


slots = helper("_slots", "first second", key=new, slots=whole(0, 9, "Slots."))
doubled = helper("_double", "doubled", lambda x: 2 * x, slots=whole(0, 9, "Slots."))

Plan, Verbs = both_sides(globals())
'''


class File:
    name = "the file"

    def make(self) -> Any:
        return self

    def forward(self, *given: Any) -> Any:
        return given, "cache"

    def look(self, key: Any) -> None:
        return None

    def _slots(self, key: Any, slots: int) -> Any:
        return key, slots

    def _double(self, slots: int) -> int:
        return slots


@pytest.fixture
def sides(sides_of: Any) -> Any:
    return sides_of(DRIVER)


@pytest.fixture
def plan(sides: Any) -> Any:
    draw = Draw(3, "float32")
    draw.at(0)
    return sides.plan({"rows": 2}, draw)


@pytest.fixture
def worker(sides: Any) -> Any:
    made = sides.calls(File())
    made.create(dtype="float32")
    return made


def test_what_is_sent_follows_from_the_case_and_the_sizes(plan: Any) -> None:
    sent = plan.inputs("forward", {"tokens": 3, "fill": 4, "flag": True})
    assert list(sent) == ["query", "key", "past", "flag"]
    assert sent["query"].shape == (2, 3)
    assert sent["past"]["key"].shape == (4,)
    assert plan.inputs("forward", {})["query"].shape == (2, 1)
    assert plan.inputs("forward", {})["past"] is None


def test_a_size_is_sent_for_an_option_only_where_the_setup_states_it(sides: Any) -> None:
    def sent(setup: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
        draw = Draw(3, "float32")
        draw.at(0)
        inputs: dict[str, Any] = sides.plan(setup, draw).inputs("forward", step)
        return {name: x for name, x in inputs.items() if name in ("scale", "slots")}

    assert sent({"rows": 2}, {}) == {}
    assert sent({"rows": 2, "slots": 9}, {"scale": 3}) == {"scale": 3, "slots": 9}
    assert sent({"rows": 2, "slots": 9}, {"slots": 0}) == {"slots": 0}


def test_stated_inputs_take_the_place_of_drawn_ones_and_move_no_others(plan: Any) -> None:
    plain = plan.inputs("forward", {"tokens": 2, "fill": 3})
    plan._draw.at(0)
    stated = plan.inputs("forward", {"tokens": 2, "fill": 3, "query": np.ones((1, 1))})
    assert stated["query"].tolist() == [[1.0]]
    assert (stated["key"] == plain["key"]).all()
    assert (stated["past"]["key"] == plain["past"]["key"]).all()


def test_a_source_is_asked_once_for_all_its_inputs(plan: Any) -> None:
    plan.inputs("forward", {"tokens": 2})
    one = plan._draw._taken
    plan._draw.at(0)
    plan.inputs("look", {"tokens": 2})
    assert plan._draw._taken == one == 8


@pytest.mark.parametrize(
    ("regime", "holds"),
    [
        ("zeros", lambda x: (x == 0).all()),
        ("ties", lambda x: (x == x[:1]).all()),
        ("one_hot", lambda x: (x.sum(-1) == 1).all() and set(x.ravel()) == {0.0, 1.0}),
        ("huge", lambda x: abs(x).max() > 32),
        ("tiny", lambda x: 0 < abs(x).max() < 1 / 32),
        ("strided", lambda x: 0.5 < abs(x).max() < 2),
    ],
)
def test_a_regime_changes_drawn_numbers_of_one_input(plan: Any, regime: str, holds: Any) -> None:
    sent = plan.inputs("forward", {"tokens": 4, "regimes": {"query": regime}})
    assert holds(sent["query"])
    assert 0.5 < abs(sent["key"]).max() < 2
    assert sent.get("regimes") == ({"query": "strided"} if regime == "strided" else None)


def test_a_regime_leaves_stated_numbers_as_they_are(plan: Any) -> None:
    step = {"query": np.ones((2, 2)), "regimes": {"query": "zeros"}}
    assert (plan.inputs("forward", step)["query"] == 1).all()


def test_only_a_named_answer_can_be_looked_at(plan: Any) -> None:
    plan.saved = {"a": {"key": SimpleNamespace(values=1), "lens": SimpleNamespace(values=2)}}
    assert plan.inputs("forward", {"cache": "a"})["past"] == {"key": 1, "lens": 2}
    with pytest.raises(TypeError, match="no `saved` parameter of this step names the answer 'a'"):
        plan.inputs("thief", {})


def test_an_answer_that_is_not_there_yet_can_only_be_sent_on(plan: Any) -> None:
    plan.saved = Answers()
    named = plan.inputs("forward", {"cache": "a"})["past"]["key"]
    assert named.earlier("float32").name == "key"


@pytest.mark.parametrize(
    ("name", "step", "told"),
    [
        ("forward", {"token": 3}, "forward has no parameter"),
        ("backward", {}, "no verb 'backward'"),
        ("driver", {}, "no verb 'driver'"),
        ("look", {"spoil": "longer"}, "look has no parameter"),
    ],
)
def test_what_a_step_cannot_say_is_refused(plan: Any, name: str, step: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        plan.inputs(name, step)


def test_a_call_gets_the_arguments_by_name_and_parts_in_their_order(worker: Any) -> None:
    answer = worker.forward(query=1, key=2, past={"lens": 4, "key": 3}, flag=True, scale=5)
    assert answer == {"output": (1, 2, (3, 4), True, {"scale": 5}), "cache": "cache"}
    assert worker.forward(query=1, key=2, past=None)["output"] == (1, 2, None, False, {})


def test_an_input_that_was_not_sent_is_none(worker: Any) -> None:
    assert worker.forward(query=1)["output"] == (1, None, None, False, {})


def test_helpers_name_what_came_back(worker: Any) -> None:
    assert worker.slots(key=1, slots=2) == {"first": 1, "second": 2}
    assert worker.doubled(slots=4) == {"doubled": 8}


@pytest.mark.parametrize(
    ("verb", "name", "answer", "told"),
    [
        ("look", "look", None, "`look` returned None; is a `return` missing?"),
        ("doubled", "_double", None, "`_double` returned None"),
        ("slots", "_slots", None, "`_slots` returned None"),
        ("slots", "_slots", (1,), r"`_slots` must return \(first, second\)"),
        ("slots", "_slots", 3, r"`_slots` must return \(first, second\)"),
    ],
)
def test_an_answer_of_another_form_is_told(
    sides: Any, verb: str, name: str, answer: Any, told: str
) -> None:
    file = SimpleNamespace(**{name: lambda *_: answer})
    worker = sides.calls(SimpleNamespace(make=lambda: file))
    worker.create(dtype="float32")
    call = {"look": {"key": 1}, "slots": {"key": 1, "slots": 2}, "doubled": {"slots": 3}}[verb]
    with pytest.raises(Wrong, match=told) as caught:
        getattr(worker, verb)(**call)
    assert caught.value.kind == "missing"


def test_arguments_are_spoiled_just_before_the_call(worker: Any) -> None:
    answer = worker.forward(query=[1], key=[2], past=None, spoil="longer")
    assert answer["output"][:2] == ([1, 0], [2, 0])


def test_a_name_that_the_file_lacks_is_missing(sides: Any) -> None:
    worker = sides.calls(SimpleNamespace(make=SimpleNamespace))
    worker.create(dtype="float32")
    with pytest.raises(Wrong) as caught:
        worker.look(key=1)
    assert (caught.value.kind, caught.value.name) == ("missing", "look")


def test_only_create_decides_what_later_verbs_are_about(worker: Any) -> None:
    with pytest.raises(RuntimeError, match="`use` is for the verb `create` alone"):
        worker.late()
    assert worker.keeps(query=1) == {"dtype": "float32", "file": "the file"}


def tensors() -> dict[str, torch.Tensor]:
    return {"query": torch.arange(24.0).reshape(2, 3, 4), "key": torch.arange(4.0)}


@pytest.mark.parametrize("layout", ["strided", "window", "swapped"])
def test_a_layout_holds_the_same_numbers_elsewhere(worker: Any, layout: str) -> None:
    sent = tensors()
    query = worker.forward(**sent, past=None, regimes={"query": layout})["output"][0]
    assert torch.equal(query, sent["query"])
    assert not query.is_contiguous()
    assert query.untyped_storage().data_ptr() != sent["query"].untyped_storage().data_ptr()


@pytest.mark.parametrize("layout", ["strided", "window", "swapped"])
@pytest.mark.parametrize("refuses", [False, True])
def test_what_is_written_into_a_view_is_written_into_the_input(
    sides: Any, layout: str, refuses: bool
) -> None:
    def forward(query: Any, *rest: Any) -> Any:
        query[0, 0, 0] = 99
        if refuses:
            raise ValueError("refused")
        return query, None

    worker = sides.calls(SimpleNamespace(make=lambda: SimpleNamespace(forward=forward)))
    worker.create(dtype="float32")
    sent = tensors()
    call = {**sent, "past": None, "regimes": {"query": layout}}
    if refuses:
        with pytest.raises(ValueError, match="refused"):
            worker.forward(**call)
    else:
        worker.forward(**call)
    assert sent["query"][0, 0, 0] == 99
    assert torch.equal(sent["query"].flatten()[1:], torch.arange(1.0, 24.0))


def test_a_view_whose_shape_is_changed_is_told(sides: Any) -> None:
    file = SimpleNamespace(forward=lambda query, *rest: (query.resize_(1), None))
    worker = sides.calls(SimpleNamespace(make=lambda: file))
    worker.create(dtype="float32")
    with pytest.raises(Wrong, match="changed the shape of `query`"):
        worker.forward(**tensors(), past=None, regimes={"query": "strided"})


@pytest.mark.parametrize("layout", ["strided", "window", "swapped"])
def test_all_dtypes_and_what_is_no_tensor_can_be_laid_out(sides: Any, layout: str) -> None:
    from grader.kit.layouts import laid_out

    for dtype in (torch.bool, torch.int32, torch.int64, torch.bfloat16, torch.float64):
        arguments: dict[str, Any] = {"past": (torch.ones(2, 2, 2, dtype=dtype), 3), "none": None}
        with laid_out(arguments, {"past": layout, "none": layout, "absent": layout}):
            assert torch.equal(arguments["past"][0], torch.ones(2, 2, 2, dtype=dtype))
            assert arguments["past"][1] == 3
            assert arguments["none"] is None
