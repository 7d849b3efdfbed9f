"""What the worker reads of a file's objects: paths, public attributes, shared objects and memory, changed arguments."""

from __future__ import annotations

import pytest
import torch

from grader.diagnose.in_worker.object_views import (
    ABSENT,
    argument_versions,
    follow_path,
    held_by,
    holds_one_twice,
    is_list_of_counts,
    public_attributes,
)


class Cache:
    """An object as a learner might write it."""

    def __init__(self, **attributes) -> None:
        self.__dict__.update(attributes)

    def get(self):
        return self._slots


def shares(one, other) -> tuple[bool, bool]:
    """Whether two values share objects, and memory."""
    return tuple(bool(a & b) for a, b in zip(held_by(one), held_by(other), strict=True))


def test_paths_lead_through_items_attributes_methods_and_lengths() -> None:
    caches = [Cache(_slots={"key": 1, "value": 2})]
    assert follow_path(caches, "0.get") == {"key": 1, "value": 2}
    assert follow_path(caches, "0.get.keys") == ["key", "value"]
    assert follow_path(caches, "len") == 1
    assert follow_path(caches, "0.size") is ABSENT
    with pytest.raises(IndexError):
        follow_path(caches, "1.get")


def test_public_attributes_come_by_name() -> None:
    made = Cache(size=1, _slots=2, keys=3)
    made.__dict__[7] = "no name"
    assert list(public_attributes(made)) == [("keys", 3), ("size", 1)]


def test_views_of_one_tensor_share_memory_and_copies_do_not() -> None:
    tensor = torch.ones(2, 3)
    assert shares([tensor], [tensor[0]]) == (False, True)
    assert shares([tensor], [tensor.clone()]) == (False, False)
    assert shares(Cache(_slots=tensor), {"key": tensor.T}) == (False, True)


def test_one_object_in_two_places_is_shared() -> None:
    inner = {"key": 1}
    assert shares(Cache(a=inner), (1, [inner])) == (True, False)
    assert shares(Cache(a=inner), [dict(inner)]) == (False, False)


def test_objects_that_hold_themselves_come_to_an_end() -> None:
    ring: list = []
    ring.append(ring)
    assert shares(ring, [ring]) == (True, False)


def test_a_list_that_holds_one_object_twice() -> None:
    pool = {"size": 1}
    assert holds_one_twice(Cache(pools=[pool, pool]))
    assert holds_one_twice(Cache(pools={"a": pool, "b": pool}))
    assert not holds_one_twice(Cache(pools=[pool, dict(pool)], sizes=[1, 1]))


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ([1, 2, 3, 4], True),
        ([1, 2, 3], False),
        ([1, 2, 3, 4.0], False),
        ([1, 2, 3, True], False),
        ([1, 2, 3, 1 << 62], False),
        ({1, 2, 3, 4}, False),
    ],
)
def test_lists_of_whole_numbers_are_compared_as_tensors(value, answer) -> None:
    assert is_list_of_counts(value) is answer


def test_an_argument_that_is_changed_in_place_has_another_version() -> None:
    tensor, nested = torch.ones(3), {"sizes": [1, 2], "tensor": torch.ones(3)}
    before = argument_versions([tensor, nested])
    assert argument_versions([tensor, nested]) == before
    tensor.add_(1)
    after = argument_versions([tensor, nested])
    assert after != before
    nested["sizes"].append(3)
    assert argument_versions([tensor, nested]) != after
    nested["tensor"].mul_(2)
    assert argument_versions([tensor, nested])[1:] != after[1:]
