"""What a file does is compared, not how it is written: inert statements are left out, all others stay."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.content import Catalogue, load_challenge
from grader.content.generated_bugs import read_generated, with_generated
from grader.content.planting import plant
from grader.content.statements import VersionsOf, normalize, statements
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


@pytest.mark.parametrize("name", Catalogue().ids())
def test_each_planted_text_is_read_as_if_alone(name: str) -> None:
    challenge = load_challenge(name)
    versions = VersionsOf(challenge.reference_text)
    texts = [plant(challenge, [bug]) for bug in challenge.bugs]
    texts.append(challenge.starter.read_text("utf-8"))
    if challenge.generated.exists():
        bugs = [known.bug for known in read_generated(challenge).bugs.values()][::4]
        texts += [plant(with_generated(challenge, [bug]), [bug.id]) for bug in bugs]
    for text in texts:
        assert versions.statements(text) == statements(text)


TEXT = """import os

LIMIT = 3

class A:
    size = 2

    @property
    def width(self):
        return self.size

    @width.setter
    def width(self, value):
        self.size = value

    # what is asked most
    @staticmethod
    def f(x):
        def inner(y):
            return y + 1
        if x:
            x = inner(x)
        return x

    def g(self, x):
        text = '''one
two'''
        return text * x

def g(x):
    return x

if LIMIT:
    def h():
        return 1
else:
    def h():
        return 2

def h(x):
    return 3
"""
EDITS = {
    "one line of a method": [("x = inner(x)", "x = inner(x + 1)")],
    "two methods": [("x = inner(x)", "x = 5"), ("text * x", "text + x")],
    "two lines of a method": [("y + 1", "y - 1"), ("        return x\n\n    def g", "        return -x\n\n    def g")],
    "a nested function's name": [("def inner(y)", "def within(y)"), ("inner(x)", "within(x)")],
    "a method's name": [("def f(x)", "def e(x)")],
    "a decorator": [("@staticmethod", "@classmethod")],
    "no decorator": [("    @staticmethod\n", "")],
    "another decorator": [("    @staticmethod\n", "    @other\n    @staticmethod\n")],
    "one of two of a name": [("return self.size", "return self.size + 1")],
    "the last of three of a name": [("return 3", "return 4")],
    "a constant of the module": [("LIMIT = 3", "LIMIT = 4")],
    "a constant of the class": [("size = 2", "size = 3")],
    "a class's name": [("class A", "class B")],
    "another method before": [("    # what", "    def e(self):\n        return 0\n\n    # what")],
    "another method behind": [("text * x\n", "text * x\n\n    def e(self):\n        return 0\n")],
    "a second method of the same name": [
        ("text * x\n", "text * x\n\n    def f(self):\n        return 0\n")
    ],
    "a method less": [("    def g(self, x):\n        text = '''one\ntwo'''\n        return text * x\n", "")],
    "a method more within": [("        if x:\n", "        def f(z):\n            return z\n        if x:\n")],
    "less indentation": [("            return y + 1\n        if x:", "            return y + 1\n    if LIMIT:")],
    "a method that became a function": [
        ("    def g(self, x):", "def k(x):"),
        ("        return text", "    return text"),
    ],
    "a string that goes on": [("text = '''one", "text = '''"), ("two'''", "two")],
    "a line within a string": [("two'''", "  two\n'''")],
    "a line that goes on": [("        return text * x", "        return text * x + \\")],
    "comments and layout": [("        return x\n\n    def g", "        # why\n        return (x\n)\n    def g")],
    "nothing left of it": [("        return self.size\n", "")],
    "a bracket that stays open": [("return y + 1", "return (y + 1")],
    "a zero byte": [("return y + 1", "return y + 1\0")],
    "another function at the end": [("return 3\n", "return 3\n\ndef k():\n    return 1\n")],
    "more than twice as long": [("return 3\n", "return 3\n" + "x = 1\n" * 99)],
    "carriage returns": [("\n", "\r\n")],
    "tabs": [("        return x\n\n    def g", "\treturn x\n\n    def g")],
    "all in one": [("import os", "import os, sys"), ("y + 1", "y"), ("return 3", "return 5")],
    "the function of the name of a method": [("def g(x):\n    return x", "def g(x):\n    return -x")],
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_a_version_is_read_as_if_alone(what: str) -> None:
    text = TEXT
    for before, after in EDITS[what]:
        assert before in text
        text = text.replace(before, after)
    assert VersionsOf(TEXT).statements(text) == statements(text)


def test_only_the_functions_with_an_edit_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    parse = ast.parse
    versions = VersionsOf(TEXT)
    versions.statements(TEXT.replace("y + 1", "y + 2"))  # it has looked at the function alone
    monkeypatch.setattr(ast, "parse", lambda text: read.append(text) or parse(text))  # type: ignore[func-returns-value]
    versions.statements(TEXT.replace("y + 1", "y - 1"))
    assert [text.count("def ") for text in read] == [2]


@given(st.data())
def test_any_edits_of_lines_are_read_as_if_alone(data: st.DataObject) -> None:
    lines = TEXT.split("\n")
    place = st.integers(0, len(lines) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at, take = data.draw(place), data.draw(st.integers(0, 2))
        lines[at : at + take] = data.draw(
            st.lists(st.sampled_from([*lines, "    x = 0"]), max_size=2)
        )
        lines = lines or [""]
        place = st.integers(0, len(lines) - 1)
    text = "\n".join(lines)
    assert VersionsOf(TEXT).statements(text) == statements(text)
