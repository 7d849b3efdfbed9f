"""Files that are no attempt at all: each ends quickly, with one clear cause, and never with a pass."""

from __future__ import annotations

import time

import pytest

from grader.judge import Unreadable, grade_source
from grader.judge.result import Result

NAME = "multi_head_attention"
CLASS = "class KVCachedMultiHeadAttention(torch.nn.Module):\n"


def grade(source: bytes, sandbox_for) -> Result:
    return grade_source(NAME, source, sandbox=sandbox_for(NAME))


@pytest.mark.parametrize(
    ("source", "kind", "says"),
    [
        (b"", "missing", "KVCachedMultiHeadAttention"),
        (b"def f(:\n", "raised", "SyntaxError"),
        (b"x = 1\n\xff\xfe\n", "raised", "UTF-8"),
        ("x = 1\n".encode("utf-16"), "raised", "saved as UTF-16; save it as UTF-8"),
        (b"# coding: klingon\nx = 1\n", "raised", "its coding line"),
        (b'{"nbformat": 4, "cells": 3}', "raised", "the notebook has no list of cells"),
        (b"x = 1\n\0\n", "raised", ""),
        (b"class Other: pass\n", "missing", "KVCachedMultiHeadAttention"),
        (b"raise RuntimeError('no')\n", "raised", "RuntimeError"),
        (b"while True: pass\n", "timeout", ""),
        (b"x = bytearray(8 << 30)\n", "memory", ""),
        (b"import ctypes; ctypes.string_at(0)\n", "crashed", ""),
        (b"import sys; sys.exit(0)\n", "raised", "SystemExit"),
        (b"import os; os._exit(0)\n", "crashed", ""),
        (b"open('/etc/passwd')\n", "blocked", ""),
        (b"import socket; socket.socket()\n", "blocked", ""),
        (b"(" * 100_000, "", ""),
        (
            f"import torch\n{CLASS}    def __init__(self, *a, **k): raise ValueError('early')\n".encode(),
            "raised",
            "early",
        ),
    ],
)
def test_one_clear_cause(source: bytes, kind: str, says: str, sandbox_for) -> None:
    began = time.monotonic()
    result = grade(source, sandbox_for)
    assert time.monotonic() - began < 60
    assert result.verdict == "failed"
    assert result.score == 0
    judged = [case for case in result.cases if case.status != "skipped"]
    assert judged
    causes = {(case.cause.kind, case.cause.rationale) for case in judged if case.cause}
    assert len(causes) == 1, causes
    found, text = causes.pop()
    assert found == kind or not kind
    assert says in text


def test_an_infinite_loop_in_forward_is_cut_short(sandbox_for) -> None:
    from grader.content import load_challenge

    text = load_challenge(NAME).reference_text
    start = text.index("    def forward(")
    body = text.index('"""', text.index('"""', start) + 3) + 3
    loop = text[:body] + "\n        while True:\n            pass\n" + text[body:]
    result = grade(loop.encode(), sandbox_for)
    assert result.verdict == "failed"
    assert any(case.cause and case.cause.kind == "timeout" for case in result.cases)


def test_a_huge_file_is_not_graded(sandbox_for) -> None:
    with pytest.raises(Unreadable, match="bytes"):
        grade(b"#" * (10 << 20), sandbox_for)


def test_a_syntax_error_is_shown_with_its_line(sandbox_for) -> None:
    result = grade(b"import torch\n\ndef f(:\n    pass\n", sandbox_for)
    cause = result.cases[0].cause
    assert cause is not None
    assert cause.help == "Line 3: def f(:"
