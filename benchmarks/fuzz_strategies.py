"""What fuzzing is done with: JSON values, real documents with a few nodes changed, bytes with a few bytes changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(st.characters(), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
# values that a schema may let through and a program may trip over
EDGE = st.sampled_from(
    [0, -1, 1, 2, 3, 64, 1 << 31, 1 << 53, 0.5, -0.0, 1e300, True, False, None, "", "x", [], {}]
)


@st.composite
def changed_document(draw: Callable[..., Any], original: Any, *, most: int = 3) -> Any:
    """Draw a document with up to `most` nodes replaced, removed, renamed or doubled."""
    document = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, most))):
        parent, key = _node(draw, document)
        if parent is None:
            return draw(JSON)
        kind = draw(st.sampled_from(["edge", "json", "remove", "double", "rename"]))
        if kind == "remove":
            del parent[key]
        elif kind == "double" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif kind == "rename" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = parent.pop(key)
        else:
            parent[key] = draw(JSON if kind == "json" else EDGE)
    return document


def _node(draw: Callable[..., Any], document: Any) -> tuple[Any, Any]:
    """Walk down at random; return a container and the key of one of its items."""
    parent: Any = None
    key: Any = None
    node = document
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if parent is not None and draw(st.integers(0, 4)) == 0:
            break
        parent, key = node, draw(st.sampled_from(keys))
        node = parent[key]
    return parent, key


@st.composite
def changed_bytes(draw: Callable[..., Any], original: bytes, *, most: int = 6) -> bytes:
    """Draw bytes with a few of them changed, cut out, doubled or inserted."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["set", "cut", "double", "insert"]))
        size = draw(st.integers(1, 16))
        if kind == "set":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "cut":
            del data[at : at + size]
        elif kind == "double":
            data[at:at] = data[at : at + size]
        else:
            data[at:at] = draw(st.binary(max_size=16))
    return bytes(data)


def changed_text(original: str, *, most: int = 4) -> st.SearchStrategy[str]:
    """Draw a text with whole lines moved, doubled or removed, or pieces of text put in."""
    lines = original.splitlines(keepends=True)

    @st.composite
    def build(draw: Callable[..., Any]) -> str:
        made = list(lines)
        for _ in range(draw(st.integers(1, most))):
            at = draw(st.integers(0, len(made)))
            kind = draw(st.sampled_from(["move", "remove", "text", "deep"]))
            if kind == "move" and made:
                made.insert(at, draw(st.sampled_from(lines)))
            elif kind == "remove":
                del made[at : at + draw(st.integers(1, 5))]
            elif kind == "deep":
                made.insert(at, draw(st.sampled_from("([-~!\\")) * draw(st.integers(1, 30_000)))
            else:
                made.insert(at, draw(st.text(st.characters(), max_size=30)))
        return "".join(made)

    return build()
