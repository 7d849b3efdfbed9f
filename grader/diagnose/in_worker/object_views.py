"""In the worker, beside a submission: what paths from an object lead to, and which objects and memory it holds.

Sent with the recorder, of which it knows nothing.  Paths such as `0.get` lead to values that the challenge's contract
promises; private attributes are read only to learn whether two things share memory or objects.
"""

import types
from collections.abc import Iterator, KeysView, ValuesView
from operator import itemgetter
from typing import Any

import torch

MOST_HELD = 600
FEWEST, MOST_COUNTS = 4, 4096
MOST_COPIED, DEEPEST = 2000, 6
ABSENT = object()
METHODS = (types.MethodType, types.BuiltinMethodType)
NO_STATE = (types.ModuleType, types.FunctionType, types.MethodType, type)


def follow_path(value: Any, path: str) -> Any:
    """Return what a path leads to; ABSENT where an attribute is not there.

    The parts of a path, joined by dots, are item numbers, names of attributes, and `len`; methods are called without
    arguments.  `follow_path(caches, "0.get")` is `caches[0].get()`.
    """
    for name in path.split("."):
        if name == "len":
            value = len(value)
        elif name.isdigit():
            value = value[int(name)]
        else:
            value = getattr(value, name, ABSENT)
            if value is ABSENT:
                return ABSENT
            value = value() if isinstance(value, METHODS) else value
    return list(value) if isinstance(value, KeysView | ValuesView) else value


def public_attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the public attributes that an object itself has, by name."""
    own = [(name, item) for name, item in _attributes(value).items() if type(name) is str]
    return ((name, item) for name, item in sorted(own, key=itemgetter(0)) if name[:1] != "_")


def held_by(*values: Any) -> tuple[set[int], set[int]]:
    """Return the identities of the mutable objects within some values, and the memory that their tensors use."""
    objects: set[int] = set()
    memory: set[int] = set()
    todo = list(values)
    while todo and len(objects) < MOST_HELD:
        item = todo.pop()
        if isinstance(item, torch.Tensor):
            if item.layout == torch.strided and item.numel():
                memory.add(item.untyped_storage().data_ptr())
        elif isinstance(item, tuple):
            todo += item
        elif isinstance(item, dict | list | set) or _attributes(item):
            if id(item) in objects:
                continue
            objects.add(id(item))
            inner = item if isinstance(item, list | set) else _inner(item)
            todo += list(inner)[:MOST_HELD]
    return objects, memory


def holds_one_twice(owner: Any) -> bool:
    """Whether a list or dictionary among the attributes of an object holds one object twice."""
    for value in _attributes(owner).values():
        items = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list):
            known = [
                id(item) for item in items if isinstance(item, dict | list) or _attributes(item)
            ]
            if len(known) != len(set(known)):
                return True
    return False


def is_list_of_counts(value: Any) -> bool:
    """Whether something is a list of whole numbers, and long enough to be compared as a tensor."""
    if not isinstance(value, list | tuple) or not FEWEST <= len(value) <= MOST_COUNTS:
        return False
    return all(type(item) is int and abs(item) < 1 << 62 for item in value)


def argument_versions(values: Any) -> list[Any]:
    """Return what changes when arguments are changed in place.

    Of a tensor that is how often it was written to, and of lists and dictionaries their content.
    """
    seen: list[Any] = []
    for value in values:
        parts = value.values() if isinstance(value, dict) else [value]
        seen += [(id(part), _version(part)) for part in parts if isinstance(part, torch.Tensor)]
        if isinstance(value, dict | list):
            seen.append(_copied(value, [MOST_COPIED], 0))
    return seen


def _copied(value: Any, left: list[int], depth: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth > DEEPEST or not isinstance(value, dict | list | str | int | float):
        return id(value)
    if isinstance(value, dict):
        items = [(key, item) for key, item in value.items() if type(key) is str]
        return [(key, _copied(item, left, depth + 1)) for key, item in items]
    if isinstance(value, list):
        return [_copied(item, left, depth + 1) for item in value]
    return value


def _version(tensor: torch.Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # a tensor made in inference mode does not count
        return 0


def _inner(item: Any) -> Any:
    return item.values() if isinstance(item, dict) else _attributes(item).values()


def _attributes(value: Any) -> dict[str, Any]:
    if isinstance(value, NO_STATE):
        return {}
    state = getattr(value, "__dict__", None)
    return state if isinstance(state, dict) else {}
