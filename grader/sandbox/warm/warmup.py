"""The warm-up, in the fork server and before any submission: import and use everything that workers need.

A confined worker can open few files or none, and what it does for the first time is slow. So trusted programs
(`programs`) go through the same code as a submission, often enough for Python to have adapted itself to it, and the
forked workers find all of that done.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

import grader.kit  # a driver finds it in the worker, which can open no file
from grader.ground.arrays import Array
from grader.sandbox.protocol import codec
from grader.sandbox.protocol.messages import Request
from grader.sandbox.warm.quick_triton import quicken_triton
from grader.sandbox.warm.stand_ins import stand_in
from grader.sandbox.worker.host import WorkerHost

PROGRAMS = Path(__file__).parent / "programs"
ROUNDS = 20  # by then Python has replaced by faster ones the instructions that every worker runs


def warm_up(preload: list[str]) -> dict[str, Any]:
    """Import torch and the `preload` modules, run the programs, and return the versions of what is here.

    Raises RuntimeError when one of the programs fails.
    """
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    for name in preload:
        importlib.import_module(name)
    if "triton" in sys.modules:
        importlib.reload(grader.kit.probes)  # its kernels can be made now
    if interpreted():
        importlib.import_module("triton.runtime.interpreter")
        quicken_triton()
    stand_in()
    run_programs()
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


def interpreted() -> bool:
    """Whether Triton kernels run here in its CPU interpreter."""
    return "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") == "1"


def run_programs() -> None:
    """Run the program of attention and, where Triton is interpreted, the one with a kernel."""
    _run("attention_program", _attention_requests(), ROUNDS)
    if interpreted():
        _run("kernel_program", [Request("run", tensors={"x": _numbers(1, 4, 8)})], 1)


def _run(program: str, requests: list[Request], rounds: int) -> None:
    host = WorkerHost("submission.py", isolated=True)
    submission, driver = (
        (PROGRAMS / f"{name}.py").read_bytes() for name in (program, f"{program}_driver")
    )
    host.load(submission, codec.pack_driver(driver))
    blobs = [codec.pack_request(request, 1 << 20) for request in requests]
    for _ in range(rounds):
        host.reload()
        for blob in blobs:
            reply = codec.read_reply(host.answer(blob))
            if reply.raised or reply.problem:
                raise RuntimeError(f"the warm-up failed: {reply.raised or reply.problem}")
    # a driver that reports a wrong answer, and a verb that it does not have
    for name in ("fail", "absent"):
        host.answer(codec.pack_request(Request(name), 1 << 20))


def _attention_requests() -> list[Request]:
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
