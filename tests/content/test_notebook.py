"""Notebooks become Python as Jupyter would read them, and a broken or hostile one is told in one line."""

from __future__ import annotations

import ast
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.content.notebook import NotebookError, is_notebook, read_notebook


def cell(source: Any, kind: str = "code", **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, "source": source, **more}


def notebook(*cells: Any, **more: Any) -> bytes:
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **more}
    return json.dumps(document).encode()


def code(*cells: Any) -> str:
    """Return the Python of a notebook of these cells without comments, as Python reads it."""
    text = read_notebook(notebook(*(cell(source) for source in cells))).text
    return ast.unparse(ast.parse(text))


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("%matplotlib inline\nx = 1", "x = 1"),
        ("  %load_ext autoreload\n  x = 1", "x = 1"),
        ("!pip install 'a\nx = 1", "x = 1"),
        ("!echo a \\\n  b\nx = 1", "x = 1"),
        ("if y:\n    %time f()\nx = 1", "if y:\n    pass\nx = 1"),
        ("files = !ls\nn = %timeit -o f()\nx = 1", "x = 1"),
        ("x = 1\ntorch.zeros?\n?x\nx??", "x = 1"),
        ("x = (a\n  % b)", "x = a % b"),
        ("x = a \\\n  % b", "x = a % b"),
        ("x = '''\n%d\n!no\n'''", "x = '\\n%d\\n!no\\n'"),
        ('x = """a"b\n%d"""\n%cd', "x = 'a\"b\\n%d'"),
        ("x = 'a\\\n%d'", "x = 'a%d'"),
        ("# ( an open bracket in a comment\n%cd ..\nx = 1", "x = 1"),
        ("s = '('\n%cd ..\nx = 1", "s = '('\nx = 1"),
        ("%%time\nx = 1", "x = 1"),
        ("\n%%capture out\nx = 1", "x = 1"),
        ("%%bash\nrm x\n", ""),
        ("%%writefile a.py\nx = 1\n", ""),
        ("%%html\n<b>x = 1</b>", ""),
        ("%%a_magic_of_ours\nx = 1", ""),
        ("x = 1\r\n%cd ..\r\ny = 2\rz = 3", "x = 1\ny = 2\nz = 3"),
    ],
)
def test_what_only_jupyter_understands_is_left_out(source: str, left: str) -> None:
    for form in (source, source.splitlines(keepends=True)):
        assert code("first = 0", form) == ("first = 0\n" + left).strip()


def test_lines_keep_their_places_and_what_is_left_out_is_named() -> None:
    made = read_notebook(
        notebook(
            cell("# Title", "markdown"),
            cell("%cd ..\nx = 1"),
            cell("", "code"),
            cell("%%sh\nls\n"),
            cell("y = 2\n\nz = 3"),
        )
    )
    lines = made.text.split("\n")
    places = {text: made.place(lines.index(text) + 1) for text in ("x = 1", "y = 2", "z = 3")}
    assert places == {
        "x = 1": "cell 2, line 2",
        "y = 2": "cell 5, line 1",
        "z = 3": "cell 5, line 3",
    }
    assert made.left_out == ("cell 2, line 1: %cd ..", "cell 4: the whole cell, %%sh")


def test_format_3_keeps_its_cells_in_worksheets() -> None:
    cells = [
        {"cell_type": "code", "input": ["x = 1\n", "y = 2"], "language": "python"},
        {"cell_type": "code", "input": "puts 1", "language": "ruby"},
        {"cell_type": "heading", "source": "Title"},
    ]
    document = {"nbformat": 3, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}
    made = read_notebook(json.dumps(document).encode())
    assert ast.unparse(ast.parse(made.text)) == "x = 1\ny = 2"
    assert made.left_out == ("cell 2: written in ruby",)


def test_outputs_may_hold_nan_and_a_mark_may_stand_in_front() -> None:
    data = notebook(cell("x = 1", outputs=[{"data": {"application/json": float("nan")}}]))
    assert b"NaN" in data
    assert "x = 1" in read_notebook(b"\xef\xbb\xbf" + data).text


BROKEN = {
    "empty": (b"", "broken JSON"),
    "cut off": (notebook(cell("x = 1"))[:-9], "broken JSON at line 1"),
    "deep": (b'{"nbformat": 4, "cells": ' + b"[" * 200_000, "nested too deeply"),
    "UTF-16": (notebook(cell("x")).decode().encode("utf-16"), "saved as UTF-16"),
    "latin-1": (b'{"nbformat": 4, "cells": ["\xe9"]}', "not UTF-8 at byte"),
    "a huge number": (b'{"nbformat": ' + b"9" * 9000 + b', "cells": []}', "broken JSON"),
    "a list": (b"[]", "not a JSON object"),
    "no cells": (notebook(cells=None), "no list of cells"),
    "cells of another kind": (notebook(cells={"0": cell("x")}), "no list of cells"),
    "a cell that is text": (notebook("x = 1"), "cell 1 of the notebook is not a JSON object"),
    "no source": (notebook(cell("x"), {"cell_type": "code"}), "cell 2 of the notebook has no text"),
    "numbers as source": (notebook(cell([1, 2])), "cell 1 of the notebook has no text"),
    "no code": (notebook(cell("x = 1", "markdown"), cell(" \n")), "no code in it"),
    "half a character": (notebook(cell("x = '\ud800'")), "half a character"),
    "too much code": (notebook(*[cell("x" * 9000)] * 40), "more than 256 KiB"),
    "R": (notebook(cell("x"), metadata={"kernelspec": {"language": "R"}}), "written in 'r'"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_notebook_is_told_in_one_line(kind: str) -> None:
    data, told = BROKEN[kind]
    with pytest.raises(NotebookError, match=told) as caught:
        read_notebook(data)
    assert "\n" not in str(caught.value)


def test_a_key_that_stands_twice_counts_as_jupyter_counts_it() -> None:
    data = b'{"cells": 1, "nbformat": 4, "cells": [{"cell_type": "code", "source": "x = 1"}]}'
    assert "x = 1" in read_notebook(data).text


def test_very_many_cells_are_read_in_a_moment() -> None:
    data = notebook(*[{"cell_type": "code", "source": "%x"}] * 100_000)
    began = time.process_time()
    made = read_notebook(data)
    assert len(made.left_out) == 100_000
    assert made.place(200_000) == "cell 100000, line 1"
    assert time.process_time() - began < 20


def test_a_notebook_is_recognised_by_what_it_holds() -> None:
    assert is_notebook(notebook(cell("x")))
    assert is_notebook(b"\xef\xbb\xbf\n" + notebook(cell("x")))
    for other in (b"x = 1", b'{"a": 1}', b'{"nbformat": 4}', b'{"nbformat": 4, "cells": ', b"{}"):
        assert not is_notebook(other)
    assert not is_notebook(b'{"nbformat", "cells"}\nclass A: pass')


SIMPLE = st.sampled_from(["x = 1", "y = [1,\n 2]", "%cd", "!ls", "# (", "s = '''\n%d\n'''", ""])


@given(st.lists(SIMPLE, max_size=8))
def test_whatever_is_joined_is_python_with_as_many_lines(pieces: list[str]) -> None:
    source = "\n".join(["z = 0", *pieces])
    made = read_notebook(notebook(cell(source), cell("end = 1")))
    ast.parse(made.text)
    assert made.text.count("\n") == len(source.split("\n")) + 3
    assert len(made.left_out) == sum(piece in ("%cd", "!ls") for piece in pieces)


@given(st.text(max_size=200))
def test_no_text_of_a_cell_ends_the_reading(source: str) -> None:
    try:
        made = read_notebook(notebook(cell(source)))
    except NotebookError:
        return
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert made.text.count("\n") == len(lines) + 1
