"""What a file does is compared, not how it is written: inert statements are left out, all others stay."""

from __future__ import annotations

import ast

import pytest

from grader.content.statements import normalize, statements
from grader.ground.limits import MAX_SOURCE_BYTES


def normalized(source: str) -> str:
    return ast.unparse(normalize(ast.parse(source)))


SAME = {
    "a docstring": ('def f():\n    """Add."""\n    return 1', "def f():\n    return 1"),
    "prints": ("print(x)\npprint(x)\nx = 1", "x = 1"),
    "logging by any name": (
        "import logging\nlogger.info(x)\nself.log.debug(x)\nsys.stderr.write(x)\nx = 1",
        "import logging\nx = 1",
    ),
    "assertions and pass": ("assert x\nif y:\n    pass\nx = 1", "x = 1"),
    "a breakpoint": ("breakpoint()\nx = 1", "x = 1"),
    "annotations": (
        "def f(a: int, *b: int, c: int = 1, **d: int) -> int:\n    e: int = a\n    return e",
        "def f(a, *b, c=1, **d):\n    e = a\n    return e",
    ),
    "a declaration within a function": (
        "def f():\n    e: int\n    return 1",
        "def f():\n    return 1",
    ),
    "an import within a function": (
        "def f():\n    import os\n    return 1",
        "def f():\n    return 1",
    ),
    "a loop that only speaks": ("for x in y:\n    print(x)\nz = 1", "z = 1"),
    "speech within any block": (
        "try:\n    print(1)\n    x = 1\nexcept E:\n    print(2)\n    x = 2\nfinally:\n    assert x\n    x = 3",
        "try:\n    x = 1\nexcept E:\n    x = 2\nfinally:\n    x = 3",
    ),
    "speech within a match": (
        "match x:\n    case 1:\n        print(1)\n        y = 1",
        "match x:\n    case 1:\n        y = 1",
    ),
    "a coroutine": (
        "async def f(a: int):\n    print(a)\n    return a",
        "async def f(a):\n    return a",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_changes_nothing_is_left_out(name: str) -> None:
    written, plain = SAME[name]
    assert normalized(written) == normalized(plain)
    assert statements(written) == statements(plain)


KEPT = [
    "f(x)",  # may change x
    "x.append(1)",
    "if x:\n    pass\nelse:\n    y = 1",
    "while x:\n    pass",  # may never end
    "with x:\n    pass",
    "raise E",
    "def f():\n    global x\n    x = 1",
    "class A:\n    b: int\n    c = 1",
    "x: int = 1",
]


@pytest.mark.parametrize("source", KEPT)
def test_what_may_change_something_stays(source: str) -> None:
    assert statements(source) != statements("")


def test_only_differences_of_meaning_are_seen() -> None:
    one = statements("def f(a, b):\n    return a(b,\n        'x')  # why\n")
    assert one == statements('def f(a, b): return a(b, "x")')
    assert one != statements("def f(b, a): return a(b, 'x')")
    assert one != statements("def f(a, b=1): return a(b, 'x')")


def test_statements_are_listed_under_the_function_they_stand_in() -> None:
    found = statements(
        "a = 1\nclass B:\n    def c(self):\n        if x:\n            y = 1\n        return y\n"
    )
    assert found is not None
    assert list(found) == [(), ("B",), ("B", "c")]
    assert len(found["B", "c"]) == 4  # signature, if, assignment, return
    assert "id='y'" not in found["B", "c"][1]
    chosen = statements("a = 1\ndef b(): return 1\n", {("b",)})
    assert chosen is not None
    assert list(chosen) == [("b",)]


@pytest.mark.parametrize(
    "source",
    [
        "x = (",
        "x = 1\n\0",
        "(" * 9999,
        "-" * 100_000 + "1",
        "x = 1\n" * (MAX_SOURCE_BYTES // 6 + 1),
        "{",
    ],
)
def test_what_cannot_be_read_has_no_statements(source: str) -> None:
    assert statements(source) is None
