"""Triton's interpreter, made quicker: the same answers, in any order of kernels, under confinement."""

from __future__ import annotations

import pytest

from grader.content import load_challenge
from grader.sandbox import Request, Sandbox

DRIVER = b"""
class Verbs:
    def __init__(self, submission):
        self.submission = submission

    def run(self):
        return {"out": self.submission.run()}
"""

KERNELS = b"""
import torch
import triton
import triton.language as tl
import triton.language.core as core

@triton.jit
def square(x):
    return x * x

@triton.jit
def largest(x):
    return tl.max(square(x), 0)

@triton.jit
def outer(X, Out, N: tl.constexpr):
    x = tl.load(X + tl.arange(0, N))
    tl.store(Out + tl.arange(0, N), square(x) / largest(x))

@triton.jit
def through_core(X, Out, N: tl.constexpr):
    x = core.load(X + tl.arange(0, N))
    core.store(Out + tl.arange(0, N), x + tl.sum(x, 0))

def run():
    x = torch.arange(1.0, 9.0)
    outs = [torch.empty(8) for _ in range(4)]
    for out, kernel in zip(outs, (outer, through_core, outer, through_core)):
        kernel[(1,)](x, out, 8)
    x = x.double()
    right = [x * x / 64, x + 36, x * x / 64, x + 36]
    return all(torch.allclose(a.double(), b) for a, b in zip(outs, right))
"""

PATCHED = b"""
def run():
    from triton.runtime import interpreter
    patched = (
        interpreter.InterpretedFunction.__call__,
        interpreter.FunctionRewriter.rewrite_ast,
        interpreter._get_np_dtype,
    )
    return [item.__module__ for item in patched] + [interpreter.interpreter_builder.options.sanitize_overflow]
"""

COUNTED = b"""
import types

import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

if not hasattr(interpreter, "parsed"):  # when the file is executed for the first time
    interpreter.parsed, parse = [], interpreter.ast.parse
    interpreter.ast = types.SimpleNamespace(**vars(interpreter.ast))
    interpreter.ast.parse = lambda text: interpreter.parsed.append(text) or parse(text)

@triton.jit
def doubled(x):
    return x + x

@triton.jit
def kernel(X, Out, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(Out + at, doubled(tl.load(X + at)))

def run():
    x = torch.arange(8, dtype=torch.int32) + 2**31 - 8
    out = torch.empty(8, dtype=torch.int32)
    kernel[(1,)](x, out, 8)
    return [len(interpreter.parsed), out.tolist() == list(range(-16, 0, 2))]
"""


@pytest.fixture(scope="module")
def box():
    pytest.importorskip("triton")
    with Sandbox.start(preload=["triton"], env={"TRITON_INTERPRET": "1"}) as started:
        yield started


def ask(box: Sandbox, source: bytes) -> object:
    with box.open(source, DRIVER) as session:
        loaded = session.load()
        assert not loaded.raised, loaded.raised
        reply = session.ask(Request("run"), max_reply_bytes=1 << 16)
        assert not reply.raised, reply.raised
        return reply.values["out"]


def test_nested_functions_give_right_answers_in_any_order_of_launches(box):
    assert ask(box, KERNELS) is True


def test_what_is_quicker_is_in_place(box):
    assert ask(box, PATCHED) == ["grader.sandbox.warm.quick_triton"] * 3 + [False]


def test_a_function_is_transformed_once_however_often_its_file_is_executed(box):
    """Sums that are too large go round, as they do on a device."""
    with box.open(COUNTED, DRIVER) as session:
        session.load()
        for _ in range(3):
            reply = session.ask(Request("run"), max_reply_bytes=1 << 16)
            assert reply.values["out"] == [2, True], reply
            session.reload(10)


def test_kernel_challenges_ask_for_the_interpreter_before_triton_is_imported():
    for name in ("triton_decode", "triton_prefill", "paged_cache"):
        challenge = load_challenge(name)
        assert challenge.environment["TRITON_INTERPRET"] == "1"
        assert "triton" in challenge.preload
