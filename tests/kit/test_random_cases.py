"""Random cases are cases an author could have written: valid, priced, and the same for the same choices."""

from __future__ import annotations

from typing import Any

import pytest

from grader.content import Case, ContentError, challenge_ids, load_challenge
from grader.content.cases_schema import case_schema
from grader.content.driver_loading import checked_driver
from grader.content.validation import schema_errors
from grader.judge.case_run import SPARE_BYTES
from grader.judge.cost import estimate_cost
from grader.judge.script import CREATE, Script
from grader.judge.worker_reuse import limits_of
from grader.kit.choice_sequence import ChoiceSequence
from grader.kit.scenarios import random_case, varied_setup

# whether a row's tokens fit into the pool's pages depends on all rows together, which no range can say
CANNOT_PLAN_ALL = ("paged_cache",)


def case_of(document: dict[str, Any]) -> Case:
    return Case(
        id="random", title="A random case", why="It asks what no fixed case asks.", points=1, kind="scenario",
        visibility="public", tags=(), setup=document["setup"], seed=document["seed"],
        dtype=document["dtype"], steps=tuple(document["steps"]),
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in challenge_ids() if name != "broken_test"])
def test_random_cases_are_valid_and_can_be_planned(name: str) -> None:
    challenge = load_challenge(name)
    driver = checked_driver(challenge)
    schema = case_schema(challenge)
    for seed in range(40):
        document = random_case(driver, ChoiceSequence.seeded(seed), seed)
        whole = {"id": "random", "title": "t", "why": "w", "kind": "scenario", **document}
        assert schema_errors(whole, schema, "random") == []
        if name not in CANNOT_PLAN_ALL:
            estimate_cost(challenge, case_of(document))


def test_all_verbs_can_be_drawn_where_they_are_named() -> None:
    driver = checked_driver(load_challenge("static_cache"))
    named = ["newest_visible", "visible", "attend", "scale_for"]
    seen = {
        step["do"]
        for seed in range(30)
        for step in random_case(driver, ChoiceSequence.seeded(seed), seed, ["attend", "scale_for"])[
            "steps"
        ]
    }
    assert seen == {"attend", "scale_for"}
    assert driver.public_verbs() == ["forward"]
    assert set(named) <= driver.verbs.keys()


def test_a_case_is_its_choices() -> None:
    driver = checked_driver(load_challenge("static_cache"))
    for seed in range(20):
        choose = ChoiceSequence.seeded(seed)
        first = random_case(driver, choose, 7)
        assert random_case(driver, ChoiceSequence.replayed(choose.taken), 7) == first
        assert random_case(driver, ChoiceSequence.seeded(seed), 7) == first


def test_the_plainest_case_has_one_plain_step() -> None:
    driver = checked_driver(load_challenge("static_cache"))
    document = random_case(driver, ChoiceSequence.replayed([]), 7)
    assert [step["do"] for step in document["steps"]] == ["forward"]
    assert "regimes" not in document["steps"][0]
    assert "spoil" not in document["steps"][0]


def test_every_feature_is_drawn() -> None:
    driver = checked_driver(load_challenge("static_cache"))
    documents = [random_case(driver, ChoiceSequence.seeded(seed), seed) for seed in range(300)]
    steps = [step for document in documents for step in document["steps"]]
    regimes = {way for step in steps for way in step.get("regimes", {}).values()}
    assert {"zeros", "ties", "huge", "tiny", "one_hot", "strided", "window", "swapped"} <= regimes
    assert {document["dtype"] for document in documents} == set(driver.dtypes)
    assert any("spoil" in step for step in steps)
    assert any("cache" in step for step in steps)
    assert max(step["tokens"] for step in steps if "tokens" in step) > 32
    heads = [document["setup"] for document in documents]
    assert all(setup["query_heads"] % setup["kv_heads"] == 0 for setup in heads)


def test_the_reference_settles_random_cases_or_refuses_them_as_its_brief_says(
    sandbox_for: Any,
) -> None:
    """What it raises is ValueError, but where a driver's plan cannot work with what was drawn."""
    challenge = load_challenge("static_cache")
    driver, box = checked_driver(challenge), sandbox_for("static_cache")
    raised, answered = 0, 0
    for seed in range(40):
        case = case_of(random_case(driver, ChoiceSequence.seeded(seed), seed))
        with box.open(
            challenge.reference.read_bytes(),
            challenge.driver,
            filename=challenge.file,
            limits=limits_of(challenge),
        ) as session:
            session.load()
            script = Script(challenge, case)
            for index in script.indices:
                try:
                    request = script.request(index)
                except ContentError:
                    break
                reply = session.ask(request, max_reply_bytes=64 * SPARE_BYTES)
                if reply.raised:
                    assert "ValueError" in reply.raised.types or "spoil" in case.steps[index], (
                        reply.raised
                    )
                    raised += 1
                    break
                assert reply.problem is None, reply.problem
                answered += index != CREATE
                script.answered(index, reply)
    assert raised > 5
    assert answered > 20


def test_legal_sizes_that_do_not_exist_are_told() -> None:
    driver = checked_driver(load_challenge("static_cache"))
    setup = driver.scope["Setup"]
    impossible = type("Setup", (setup,), {"legal": staticmethod(lambda sizes: False)})
    impossible.__annotations__ = setup.__annotations__
    other = type(driver)({**driver.scope, "Setup": impossible})
    with pytest.raises(Exception, match="accepts none of 1000 random setups"):
        random_case(other, ChoiceSequence.seeded(1), 1)


def test_a_size_of_0_stays_while_others_vary() -> None:
    """Where 0 has a meaning of its own, such as no window, it is no size to be varied."""
    driver = checked_driver(load_challenge("sliding_window"))
    setup = {"window": 0, "sinks": 2, "query_heads": 4}
    seen = [
        varied_setup(driver, setup, {"sinks"}, [{"do": "attend"}], ChoiceSequence.seeded(seed))
        for seed in range(30)
    ]
    assert {made["window"] for made in seen} == {0}
    assert len({made["sinks"] for made in seen}) > 1
    assert {made["query_heads"] for made in seen} == {4}


def test_room_that_steps_fill_never_becomes_less() -> None:
    """Steps that fill a slot of 24 tokens say nothing about one of 12."""
    driver = checked_driver(load_challenge("hybrid_state"))
    seen = [
        varied_setup(driver, {}, (), [{"do": "state"}], ChoiceSequence.seeded(seed))
        for seed in range(60)
    ]
    rooms = {made.get("capacity", 24) for made in seen}
    assert min(rooms) == 24 < max(rooms)
    assert min(made.get("head_dim", 4) for made in seen) < 4
