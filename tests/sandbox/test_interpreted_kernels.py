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

SLOW = b"""
def run():
    from triton.runtime import interpreter
    return interpreter.InterpretedFunction.__call__.__module__
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


def test_the_quicker_call_is_in_place(box):
    assert ask(box, SLOW) == "grader.sandbox.warm.warmup"


def test_kernel_challenges_ask_for_the_interpreter_before_triton_is_imported():
    for name in ("triton_decode", "triton_prefill", "paged_cache"):
        challenge = load_challenge(name)
        assert challenge.environment["TRITON_INTERPRET"] == "1"
        assert "triton" in challenge.preload
