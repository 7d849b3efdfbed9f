"""What the driver of multi_head_attention does beside a submission: modes, owners, names, and one object for three."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from grader.content import load_challenge
from grader.content.driver_loading import execute_driver
from grader.kit import Wrong
from reference import kv_attention

CHALLENGE = load_challenge("multi_head_attention")
VERBS = execute_driver(CHALLENGE.folder / "driver.py", CHALLENGE.driver)["Verbs"]
SIZE = 4


@pytest.fixture(autouse=True)
def grad_mode() -> Any:
    """`create` switches gradients off, as it may in a worker of its own."""
    with torch.set_grad_enabled(True):
        yield


def worker_of(
    kind: type = kv_attention.KVCachedMultiHeadAttention, by_place: bool = False, **beside: Any
) -> Any:
    """A worker with one module of this class, and with these functions beside the class."""
    worker = VERBS(SimpleNamespace(KVCachedMultiHeadAttention=kind, **beside))
    generator = torch.Generator().manual_seed(5)

    def weights(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    layers, own = (
        {
            name: {"weight": weights(SIZE, SIZE), "bias": weights(SIZE)}
            for name in ("q_proj", "k_proj", "v_proj", "out_proj")
        }
        for _ in range(2)
    )
    options = {"d_model": SIZE, "num_heads": 2, "max_cache_len": 6, "dropout": 0.5}
    made = {"options": options, "others": {"max_cache_len": 4}, "by_place": by_place}
    assert worker.create(dtype="float32", **made, weights=layers, own=own) == {"ready": True}
    return worker


def tokens(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(2, count, SIZE, generator=torch.Generator().manual_seed(seed))


def answers(worker: Any, count: int = 3, **how: Any) -> torch.Tensor:
    """The output for these tokens as query, key and value."""
    output: torch.Tensor = worker.forward(query=tokens(count), cache=None, **how)["output"]
    return output


def test_a_call_in_training_mode_leaves_eval_mode_behind() -> None:
    worker = worker_of()
    quiet = answers(worker)
    torch.manual_seed(1)
    assert not torch.equal(answers(worker, training=True), quiet), "dropout is active"
    assert torch.equal(answers(worker), quiet)
    scores = torch.zeros(2, 2, 3, 3)
    dropped = worker.weigh(scores=scores, training=True)["weights"]
    assert (dropped == 0).any()
    assert (worker.weigh(scores=scores, training=False)["weights"] == 1 / 3).all()
    assert torch.equal(answers(worker), quiet)


def test_a_call_in_training_mode_that_raises_leaves_eval_mode_behind() -> None:
    worker = worker_of()
    quiet = answers(worker)
    with pytest.raises(ValueError, match="do not fit"):
        answers(worker, 7, training=True)
    assert torch.equal(answers(worker), quiet)


def test_a_module_that_changes_its_mode_by_itself_is_called_in_the_mode_that_was_asked_for() -> (
    None
):
    class Restless(kv_attention.KVCachedMultiHeadAttention):
        def forward(self, *args: Any, **named: Any) -> Any:
            answer = super().forward(*args, **named)
            self.train()
            return answer

    worker = worker_of(Restless)
    first = answers(worker)
    assert torch.equal(answers(worker), first)


def test_self_attention_hands_one_tensor_over_three_times() -> None:
    seen: list[Any] = []

    class Watched(kv_attention.KVCachedMultiHeadAttention):
        def forward(self, query: Any, key: Any, value: Any, **named: Any) -> Any:
            seen.extend((query, key, value))
            return super().forward(query, key, value, **named)

    worker = worker_of(Watched)
    answers(worker)
    assert seen[0] is seen[1] is seen[2]
    worker.forward(query=tokens(2), key=tokens(2, 2), value=tokens(2, 3), cache=None)
    assert len({id(x) for x in seen[3:]}) == 3


@pytest.mark.parametrize("call", ["mixed", "positional", "keywords"])
@pytest.mark.parametrize("causal", [None, True, False])
def test_arguments_arrive_under_their_names_however_they_are_passed(
    call: str, causal: bool | None
) -> None:
    seen: dict[str, Any] = {}

    class Watched(kv_attention.KVCachedMultiHeadAttention):
        def forward(
            self,
            query: Any,
            key: Any,
            value: Any,
            cache: Any = "default",
            use_causal_mask: Any = "default",
        ) -> Any:
            seen.update(q=query, k=key, v=value, cache=cache, causal=use_causal_mask)
            return super().forward(query, key, value, None, True)

    worker = worker_of(Watched)
    query, key, value = tokens(2, 1), tokens(2, 2), tokens(2, 3)
    cache = {"key": tokens(1, 4), "value": tokens(1, 5)}
    how = {} if causal is None else {"causal": causal}
    worker.forward(query=query, key=key, value=value, cache=cache, call=call, **how)
    assert torch.equal(seen["q"], query)
    assert torch.equal(seen["k"], key)
    assert torch.equal(seen["v"], value)
    assert torch.equal(seen["cache"]["value"], cache["value"])
    left_out = True if call == "positional" else "default"
    assert seen["causal"] == (left_out if causal is None else causal)


def test_instances_are_objects_of_their_own_of_which_two_each_have_the_same_weights() -> None:
    made: list[Any] = []

    class Counted(kv_attention.KVCachedMultiHeadAttention):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    worker = worker_of(Counted)
    first = answers(worker)
    third = answers(worker, instance=2)
    assert len(made) == 3
    assert torch.equal(answers(worker, instance=1), first)
    assert not torch.allclose(third, first)
    assert torch.equal(answers(worker, instance=3), third)
    assert len({id(item.q_proj.weight) for item in made}) == 4
    assert [item.max_cache_len for item in made] == [6, 4, 6, 4]


def test_one_instance_alone_gets_other_numbers() -> None:
    worker = worker_of()
    first, third = answers(worker), answers(worker, instance=2)
    layers = ("q_proj", "k_proj", "v_proj", "out_proj")
    zeros = {x: {"weight": torch.zeros(SIZE, SIZE), "bias": torch.zeros(SIZE)} for x in layers}
    worker.load(weights=zeros, own=zeros, instance=1)
    assert torch.equal(answers(worker), first)
    assert (answers(worker, instance=1) == 0).all()
    assert torch.equal(answers(worker, instance=2), third)


def test_the_constructor_gets_its_arguments_by_place() -> None:
    seen: list[Any] = []

    class Watched(kv_attention.KVCachedMultiHeadAttention):
        def __init__(self, *placed: Any) -> None:
            super().__init__(*placed)
            seen.extend(placed)

    worker_of(Watched, by_place=True)
    assert seen == [SIZE, 2, 6, 0.5]


def test_a_cache_is_cut_by_views_and_its_entries_may_stand_in_the_other_order() -> None:
    seen: list[Any] = []

    class Watched(kv_attention.KVCachedMultiHeadAttention):
        def forward(self, *args: Any, cache: Any = None, **named: Any) -> Any:
            seen.append(cache)
            return super().forward(*args, cache=cache, **named)

    cache = {"key": tokens(3, 4), "value": tokens(3, 5)}
    worker_of(Watched).forward(query=tokens(2), cache=cache, cut=2, turned=True)
    assert list(seen[0]) == ["value", "key"]
    assert seen[0]["key"].shape[1] == 2
    assert seen[0]["key"].data_ptr() == cache["key"].data_ptr()


def test_three_tensors_begin_at_one_place_and_differ() -> None:
    seen: list[Any] = []

    class Watched(kv_attention.KVCachedMultiHeadAttention):
        def forward(self, query: Any, key: Any, value: Any, **named: Any) -> Any:
            seen.extend((query, key, value))
            return super().forward(query, key, value, **named)

    answers(worker_of(Watched), overlap=True)
    assert len({x.data_ptr() for x in seen}) == 1
    assert {x.shape for x in seen} == {(2, 3, SIZE)}
    assert len({tuple(x.flatten().tolist()) for x in seen}) == 3


def test_a_call_that_adds_an_entry_to_the_cache_passed_in_is_refused() -> None:
    class Marking(kv_attention.KVCachedMultiHeadAttention):
        def forward(self, *args: Any, cache: Any = None, **named: Any) -> Any:
            cache["seen"] = True
            return super().forward(*args, cache=cache, **named)

    cache = {"key": tokens(1, 4), "value": tokens(1, 5)}
    with pytest.raises(Wrong, match="replaced `seen`") as refused:
        worker_of(Marking).forward(query=tokens(2), cache=cache)
    assert refused.value.kind == "mutated_input"


def test_a_cache_is_handed_over_as_the_object_that_was_returned() -> None:
    kept = kv_attention.KVCachedMultiHeadAttention(SIZE, 2).reset_cache()

    class Same(kv_attention.KVCachedMultiHeadAttention):
        def forward(self, *args: Any, cache: Any = None, **named: Any) -> Any:
            assert cache is None or cache is kept
            output, new = super().forward(*args, cache=cache, **named)
            return output, new

    worker = worker_of(Same)
    answers(worker, live=kept)


def test_a_call_that_replaces_an_entry_of_the_cache_passed_in_is_refused() -> None:
    class Greedy(kv_attention.KVCachedMultiHeadAttention):
        def forward(self, query: Any, key: Any, value: Any, cache: Any = None) -> Any:
            output, new = super().forward(query, key, value, cache)
            cache.update(new)
            return output, new

    cache = {"key": tokens(1, 4), "value": tokens(1, 5)}
    with pytest.raises(Wrong, match="replaced `key`") as refused:
        worker_of(Greedy).forward(query=tokens(2), cache=cache)
    assert refused.value.kind == "mutated_input"


def test_a_method_is_not_taken_for_the_function_of_that_name() -> None:
    class Both(kv_attention.KVCachedMultiHeadAttention):
        def compute_position_ids(self, *_: Any) -> Any:
            raise AssertionError("the file's function is asked for")

    worker = worker_of(Both, compute_position_ids=kv_attention.compute_position_ids)
    assert worker.positions(tokens=2, cached=3)["positions"].tolist() == [3, 4]
    with pytest.raises(Wrong, match="`compute_position_ids` is not defined") as missing:
        worker_of(Both).positions(tokens=2, cached=3)
    assert missing.value.name == "compute_position_ids"


def test_a_function_is_not_taken_for_the_method_of_that_name() -> None:
    class Bare(torch.nn.Module):
        def __init__(self, **options: Any) -> None:
            super().__init__()
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                setattr(self, name, torch.nn.Linear(SIZE, SIZE))

    worker = worker_of(Bare, _split_heads=lambda x: x)
    with pytest.raises(Wrong, match="`_split_heads` is not defined"):
        worker.split(x=tokens(2))


class Odd(kv_attention.KVCachedMultiHeadAttention):
    """Helpers whose answers have another form than the reference's."""

    projected: Any = None

    def _project_inputs(self, *inputs: Any) -> Any:
        return None if self.projected is None else self.projected(inputs)


def test_several_things_may_come_back_in_a_list() -> None:
    worker, x = worker_of(type("Listed", (Odd,), {"projected": staticmethod(list)})), tokens(2)
    answer = worker.project(query=x, key=x + 1, value=x + 2)
    assert list(answer) == ["Q", "K", "V"]
    assert torch.equal(answer["V"], x + 2)


@pytest.mark.parametrize(
    ("projected", "told"),
    [
        (None, "`_project_inputs` returned None; is a `return` missing?"),
        (lambda inputs: inputs[:2], r"`_project_inputs` must return \(Q, K, V\)"),
        (lambda inputs: torch.stack(inputs), r"`_project_inputs` must return \(Q, K, V\)"),
    ],
)
def test_what_a_helper_must_return_is_said(projected: Any, told: str) -> None:
    made = projected and staticmethod(projected)
    worker, x = worker_of(type("Other", (Odd,), {"projected": made})), tokens(2)
    with pytest.raises(Wrong, match=told) as refused:
        worker.project(query=x, key=x, value=x)
    assert refused.value.kind == "missing"


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (None, "missing", r"must return two things: \(output, new_cache\)"),
        (torch.zeros(2, 3, SIZE), "missing", "two things"),
        ((None, {}), "missing", "the output is None"),
        ((torch.zeros(1), None), "missing", "the returned cache has no 'key'"),
        ((torch.zeros(1), {"key": torch.zeros(1)}), "missing", "has no 'value'"),
        ((torch.zeros(1), {"key": [1.0], "value": 1}), "missing", "is list, not a tensor"),
        (
            (torch.zeros(1), dict.fromkeys(("key", "value"), torch.zeros(2, 2, 3, 2))),
            "wrong_shape",
            "with its heads split",
        ),
    ],
)
def test_an_answer_of_the_wrong_form_is_said(answer: Any, kind: str, told: str) -> None:
    class Wronged(kv_attention.KVCachedMultiHeadAttention):
        def forward(self, *_: Any, **__: Any) -> Any:
            return answer

    with pytest.raises(Wrong, match=told) as refused:
        answers(worker_of(Wronged))
    assert refused.value.kind == kind
