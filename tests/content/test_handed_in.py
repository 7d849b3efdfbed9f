"""What a learner hands in is read as Python would read it; what cannot be read is named, with what to do."""

from __future__ import annotations

import json

import pytest

from grader.content.handed_in import (
    HandedIn,
    UnusableFile,
    handed_in,
    left_out_notice,
    most_bytes,
    source_of,
)
from grader.ground.text_encoding import EncodingError, decode_utf8

FILE = "kv_attention.py"
TEXT = "x = 'é'\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (TEXT.encode(), TEXT),
        (b"\xef\xbb\xbf" + TEXT.encode(), TEXT),
        (b"# -*- coding: latin-1 -*-\n" + TEXT.encode("latin-1"), None),
        (
            b"#!/usr/bin/python\r\n# vim: set fileencoding=cp1252 :\r\n" + TEXT.encode("cp1252"),
            None,
        ),
        (b"# coding: latin-1\r" + TEXT.encode("latin-1"), None),
        ("# coding: shift_jis\nx = 'テ'\n".encode("shift_jis"), "# coding: shift_jis\nx = 'テ'\n"),
        ("# coding: utf-7\nx = 'é'\n".encode("utf-7"), None),
    ],
)
def test_a_coding_line_is_honoured_as_python_does(data: bytes, text: str | None) -> None:
    theirs: dict[str, str] = {}
    exec(compile(data, FILE, "exec"), theirs)
    handed = handed_in(data, FILE, FILE)
    ours: dict[str, str] = {}
    exec(compile(handed.source.decode("utf-8-sig"), FILE, "exec"), ours)
    assert ours["x"] == theirs["x"]
    assert text is None or handed.text == text


def test_a_utf8_file_stays_as_it_is_byte_for_byte() -> None:
    data = b"\xef\xbb\xbfx = 1\r\n# \xc3\xa9\n"
    assert handed_in(data, FILE, FILE).source is data


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (TEXT.encode("utf-16"), "saved as UTF-16; save it as UTF-8"),
        ("x = 100\n".encode("utf-16-be"), "saved as UTF-16; save it as UTF-8"),
        ("x = 100\n".encode("utf-16-le"), "saved as UTF-16; save it as UTF-8"),
        (TEXT.encode("utf-32"), "saved as UTF-32; save it as UTF-8"),
        ("x = 1\n".encode("utf-32-be"), "saved as UTF-32; save it as UTF-8"),
        (TEXT.encode("latin-1"), "not UTF-8 at byte 5"),
        (b"# coding: ascii\nx = '\xe9'\n", "not ascii at byte 21"),
        (b"# coding: klingon\nx = 1\n", "does not accept its coding line"),
        (b"\xef\xbb\xbf# coding: latin-1\nx = 1\n", "does not accept its coding line"),
        (b"# coding: hex\nx = 1\n", "coding line"),
        (b"# coding: punycode\nx = 1\n", "'punycode', which is not read"),
        (b"# coding: utf-16\nx = 1\n", "as its first lines say"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, told: str) -> None:
    with pytest.raises(UnusableFile, match=told) as caught:
        handed_in(data, FILE, FILE)
    assert "\n" not in str(caught.value)
    assert source_of(data, FILE, FILE) == data


def test_a_coding_line_does_not_make_a_file_too_large() -> None:
    data = b"# coding: latin-1\n#" + b"\xe9" * (200 << 10)
    with pytest.raises(UnusableFile, match="larger than 256 KiB"):
        handed_in(data, FILE, FILE)


def notebook(source: str) -> bytes:
    cells = [{"cell_type": "markdown", "source": "#"}, {"cell_type": "code", "source": source}]
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": cells}).encode()


def test_a_notebook_is_one_by_its_name_or_by_what_it_holds() -> None:
    for name in ("mine.ipynb", "MINE.IPYNB", FILE):
        assert b"x = 1" in handed_in(notebook("x = 1"), name, FILE).source
    with pytest.raises(UnusableFile, match="notebook is broken JSON"):
        handed_in(b"x = 1", "mine.ipynb", FILE)
    with pytest.raises(UnusableFile, match=r"this is a Jupyter notebook; tests\.json is expected"):
        handed_in(notebook("x"), "tests.json", "tests.json")
    assert most_bytes("a.IPYNB") > most_bytes("a.py")


def test_messages_name_cell_and_line() -> None:
    handed = handed_in(notebook("%cd\nx = 1\ny = 2"), "a.ipynb", FILE)
    told = handed.in_cells("Line 3: x = 1\nIt ends with ValueError: no (line 4); the rest.")
    assert told == "Cell 2, line 2: x = 1\nIt ends with ValueError: no (cell 2, line 3); the rest."
    assert HandedIn(b"").in_cells("Line 3: x") == "Line 3: x"
    assert left_out_notice(()) == ()
    assert left_out_notice("abcdefg")[0].endswith("a; b; c; d; e; and 2 more.")
    assert left_out_notice(handed.left_out) == (
        "Left out, since only Jupyter understands it: cell 2, line 1: %cd.",
    )


def test_json_in_another_encoding_is_named() -> None:
    for data, told in ((b"\xff\xfe{\0}\0", "UTF-16"), (b'"\xe9"', "not UTF-8 at byte 1")):
        with pytest.raises(EncodingError, match=told):
            decode_utf8(data)
