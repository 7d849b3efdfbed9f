"""Mistakes in kernels are surveyed where a kernel that leaves the memory of its tensors ends its process."""

from __future__ import annotations

import pytest

from grader.author.generate.survey import WATCH
from grader.sandbox import Request, Sandbox, WorkerFailure

DRIVER = b"""
class Verbs:
    def __init__(self, submission):
        self.submission = submission

    def run(self, start, how):
        return {"out": self.submission.run(start, how)}
"""

KERNELS = b"""
import torch
import triton
import triton.language as tl

@triton.jit
def copy(X, Out, START: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(Out + at, tl.load(X + START + at))

@triton.jit
def copy_what_is_there(X, Out, START: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, N)
    there = (START + at >= 0) & (START + at < N)
    tl.store(Out + at, tl.load(X + START + at, mask=there, other=0.0))

@triton.jit
def copy_to(X, Out, START: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(Out + START + at, tl.load(X + at))

@triton.jit
def add_to(X, Out, START: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.atomic_add(Out + START + at, tl.load(X + at))

@triton.jit
def copy_one(X, Out, START: tl.constexpr, N: tl.constexpr):
    tl.store(Out, tl.load(X + START))

def run(start, how):
    kernels = {"view": copy, "copy": copy, "masked": copy_what_is_there, "to": copy_to, "add": add_to, "one": copy_one}
    x = torch.arange(16.0)[4:12] if how == "view" else torch.arange(8.0)
    out = torch.zeros(8)
    kernels[how][(1,)](x, out, start, 8)
    return out.tolist()
"""

ROW = [float(n) for n in range(8)]


@pytest.fixture(scope="module")
def box():
    pytest.importorskip("triton")
    with Sandbox.start(preload=["triton", WATCH], env={"TRITON_INTERPRET": "1"}) as started:
        yield started


def ask(box: Sandbox, start: int, how: str) -> object:
    with box.open(KERNELS, DRIVER) as session:
        loaded = session.load()
        assert not loaded.raised, loaded.raised
        said = {"start": start, "how": how}
        reply = session.ask(Request("run", args=said), max_reply_bytes=1 << 16)
        assert not reply.raised, reply.raised
        return reply.values["out"]


@pytest.mark.parametrize(
    ("start", "how", "out"),
    [
        (0, "copy", ROW),
        (0, "to", ROW),
        (0, "add", ROW),
        (7, "one", [7.0, *[0.0] * 7]),
        (-3, "masked", [0.0, 0.0, 0.0, *ROW[:5]]),
        (-4, "view", ROW),
        (4, "view", [float(n) for n in range(8, 16)]),
    ],
)
def test_a_kernel_that_stays_in_its_tensors_is_answered(box, start, how, out):
    """So is one that goes over the end of a view into the rest of the memory: that is the same each time."""
    assert ask(box, start, how) == out


@pytest.mark.parametrize(
    ("start", "how"),
    [(-1, "copy"), (1, "copy"), (1 << 20, "copy"), (-1, "to"), (1, "to"), (1, "add"), (8, "one")],
)
def test_a_kernel_that_leaves_its_tensors_crashes(box, start, how):
    with pytest.raises(WorkerFailure, match="exited with code 1 before answering"):
        ask(box, start, how)
