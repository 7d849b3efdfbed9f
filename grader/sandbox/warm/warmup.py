"""A trusted run of everything lazy, in the zygote: later the worker can open no more files.

It goes through the same code as a submission, so that what a worker needs is already imported.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata
from math import prod
from typing import Any

import numpy as np
import torch

import grader.kit  # a driver finds it in the worker, which can open no file
from grader.ground.arrays import Array
from grader.sandbox.protocol import codec
from grader.sandbox.protocol.messages import Request
from grader.sandbox.warm import triton_interpreter
from grader.sandbox.worker.host import WorkerHost

SUBMISSION = b"""
import math
import torch
import torch.nn as nn
import torch.nn.functional as F


class Layer(nn.Module):
    def __init__(self, width=8, parts=2, dropout=0.1):
        super().__init__()
        self.width, self.parts = width, parts
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, kept=None, flag=True):
        batch, length, width = x.shape
        if width != self.width:
            raise ValueError(f"{width}")
        a = self.first(x).view(batch, length, self.parts, -1).transpose(1, 2)
        b = self.second(x).reshape(batch, length, self.parts, -1).permute(0, 2, 1, 3)
        if kept is not None and kept["a"] is not None:
            a, b = torch.cat([kept["a"], a], dim=2), torch.cat([kept["b"], b], dim=2)
        mask = torch.ones(a.size(2), a.size(2), dtype=torch.bool, device=x.device).triu(1)
        mask = mask | (torch.arange(a.size(2))[:, None] < torch.arange(a.size(2))[None, :])
        numbers = torch.matmul(a, b.transpose(-2, -1)) / math.sqrt(a.size(-1))
        if flag:
            numbers = numbers.masked_fill(mask, float("-inf"))
        own = self.dropout(F.softmax(numbers, dim=-1)) @ b
        own = own + torch.einsum("bhqk,bhkd->bhqd", torch.softmax(numbers, -1), b)
        own = own + F.scaled_dot_product_attention(a, b, b, is_causal=True)
        return self.first(own.transpose(1, 2).contiguous().view(batch, -1, width)), {"a": a, "b": b}
"""
DRIVER = b"""
import torch
from grader.kit import Wrong, need

class Verbs:
    def __init__(self, submission):
        self.submission = submission

    def create(self, *, width, weights):
        torch.set_grad_enabled(False)
        self.layer = need(self.submission, "Layer")(width=width, parts=2)
        self.layer.to(torch.float32).eval()
        for name, given in weights.items():
            getattr(need(self.layer, name), "weight").copy_(given)
        return {"ready": True}

    def run(self, *, x, kept=None):
        out, more = self.layer.train(False)(x, kept=kept)
        self.returned = more
        return {"out": out, "more": more, "flag": True, "size": list(x.shape)}

    def other(self, *, x):
        torch.manual_seed(0)
        torch.set_grad_enabled(True)
        half = x.bfloat16() @ x.bfloat16().transpose(-1, -2)
        double = x.double() @ x.double().transpose(-1, -2)
        self.layer.train()(x.clone().requires_grad_())[0].sum().backward()
        x.mul_(2)
        return {"half": half, "double": double}

    def fail(self):
        raise Wrong("missing", "rehearsed")
"""

KERNEL = b"""
import torch
import triton
import triton.language as tl

@triton.jit
def kernel(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(x + i, mask=i < n, other=0.0)
    b = tl.dot(a[:, None] * a[None, :], a[:, None] * a[None, :])
    tl.store(out + i, tl.sum(tl.exp(b - tl.max(b, 1)[:, None]), 1), mask=i < n)

def call(x):
    out = torch.empty_like(x)
    kernel[(2,)](x, out, x.numel(), BLOCK=16)
    return out.requires_grad_()
"""
KERNEL_DRIVER = b"""
from grader.kit import need

class Verbs:
    def __init__(self, submission):
        self.submission = submission

    def run(self, *, x):
        return {"out": need(self.submission, "call")(x)}
"""

ROUNDS = 20  # by then the interpreter has settled how to run what every worker runs


def warm_up(preload: list[str]) -> dict[str, Any]:
    """Import what workers need and touch lazily initialised native code while files are open."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    for name in preload:
        importlib.import_module(name)
    if "triton" in sys.modules:
        importlib.reload(grader.kit.probes)  # its kernels can be made now
    if interpreted():
        importlib.import_module("triton.runtime.interpreter")
        triton_interpreter.quicken()
    run()
    triton = sys.modules.get("triton")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": getattr(triton, "__version__", None) or _installed("triton"),
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def run() -> None:
    """Load and ask; RuntimeError when the machinery itself is broken."""
    _rehearse(SUBMISSION, DRIVER, _layer_requests(), ROUNDS)
    if interpreted():
        _rehearse(KERNEL, KERNEL_DRIVER, [Request("run", tensors={"x": _numbers(1, 4, 8)})], 1)


def interpreted() -> bool:
    """Whether Triton kernels run here in its CPU interpreter."""
    return "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") == "1"


def _rehearse(submission: bytes, driver: bytes, requests: list[Request], rounds: int) -> None:
    desk = WorkerHost("submission.py", isolated=True)
    desk.load(submission, codec.pack_driver(driver))
    blobs = [codec.pack_request(request, 1 << 20) for request in requests]
    for _ in range(rounds):
        desk.reload()
        for blob in blobs:
            reply = codec.read_reply(desk.answer(blob))
            if reply.raised or reply.problem:
                raise RuntimeError(f"the rehearsal failed: {reply.raised or reply.problem}")
    for name in ("fail", "absent"):
        desk.answer(codec.pack_request(Request(name), 1 << 20))


def _layer_requests() -> list[Request]:
    weights = {"weights/first": _numbers(8, 8), "weights/second": _numbers(8, 8)}
    kept = {"kept/a": _numbers(1, 2, 3, 4), "kept/b": _numbers(1, 2, 3, 4)}
    x = {"x": _numbers(1, 4, 8)}
    return [
        Request("create", {"width": 8}, weights),
        Request("run", {"kept": None}, x, save="more"),
        Request("run", tensors={**x, **kept}),
        Request("other", tensors=x),
    ]


def _numbers(*shape: int) -> Array:
    return Array("float32", np.linspace(-1, 1, prod(shape), dtype=np.float32).reshape(shape))
