"""A trusted run of everything lazy, in the zygote: later the worker can open no more files.

It goes through the same code as a submission, so that what a worker needs is already imported.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata
from typing import Any

import numpy as np
import torch

from grader.arrays import Array
from grader.sandbox import compiled, interpreter, schema
from grader.sandbox.desk import Desk
from grader.sandbox.messages import Request

SUBMISSION = b"""
import math
import torch
import torch.nn as nn
import torch.nn.functional as F


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        q = self.proj(x).view(1, 4, 2, 4).transpose(1, 2)
        mask = torch.ones(4, 4, dtype=torch.bool).triu(1)
        scores = (q @ q.transpose(-2, -1) / math.sqrt(4)).masked_fill(mask, float("-inf"))
        own = torch.matmul(self.dropout(F.softmax(scores, dim=-1)), q)
        return own + F.scaled_dot_product_attention(q, q, q, is_causal=True)
"""
DRIVER = b"""
import torch
from grader.sandbox.driverkit import Wrong, need

class Verbs:
    def __init__(self, submission):
        self.submission = submission

    def run(self, *, x):
        model = need(self.submission, "Attention")().eval()
        half = x.bfloat16() @ x.bfloat16().transpose(-1, -2)
        double = x.double() @ x.double().transpose(-1, -2)
        model(x).sum().backward()
        return {"out": model(x), "half": half, "double": double, "flag": True, "size": list(x.shape)}

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

class Attention:
    def eval(self):
        return self

    def __call__(self, x):
        out = torch.empty_like(x)
        kernel[(2,)](x, out, x.numel(), BLOCK=16)
        return out.requires_grad_()
"""


def warm_up(preload: list[str]) -> dict[str, Any]:
    """Import what workers need and touch lazily initialised native code while files are open."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    for name in preload:
        importlib.import_module(name)
    if interpreted():
        importlib.import_module("triton.runtime.interpreter")
        interpreter.quicken()
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
    """Load and ask once; RuntimeError when the machinery itself is broken."""
    _rehearse(SUBMISSION)
    if interpreted():
        _rehearse(KERNEL)


def interpreted() -> bool:
    """Whether Triton kernels run here in its CPU interpreter."""
    return "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") == "1"


def _rehearse(submission: bytes) -> None:
    desk = Desk("submission.py", isolated=True)
    desk.load(submission, compiled.pack(DRIVER))
    x = Array("float32", np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 4, 8))
    for request in (Request("run", tensors={"x": x}), Request("fail"), Request("absent")):
        blob = desk.answer(schema.pack_request(request, 1 << 20))
        reply = schema.read_reply(blob)
        if request.do == "run" and (reply.raised or reply.problem):
            raise RuntimeError(f"the rehearsal failed: {reply.raised or reply.problem}")
