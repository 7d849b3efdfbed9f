"""`grade --device`: on which device a submission runs.  A GPU is never reached from inside the sandbox.

A GPU driver needs threads, devices and a compiler, all of which confinement forbids; so `cuda` takes `--no-isolation`.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import replace
from pathlib import Path

from grader.content import Challenge
from grader.ground.errors import UserError
from grader.sandbox.environment import DEVICE

SECONDS = 60.0  # of one case: kernels are compiled when they first run
PASSED_ON = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "CUDA_HOME", "CC")


def on_device(challenge: Challenge, device: str, *, isolated: bool) -> Challenge:
    """Return the challenge as it is graded on the device; raises UserError where that cannot be done."""
    if device == "cpu":
        return challenge
    if "triton" not in challenge.preload:
        raise UserError(f"{challenge.id!r} has no kernels; leave --device out to grade on the CPU.")
    if cuda_devices() == 0:
        raise UserError("No CUDA device was found; leave --device out to grade on the CPU.")
    if isolated:
        raise UserError(
            "A GPU cannot be used from inside the sandbox; add --no-isolation to run your own file on it."
        )
    kept = {name: value for name, value in challenge.environment.items() if "INTERPRET" not in name}
    kept |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    kept |= {DEVICE: device, "TRITON_CACHE_DIR": str(Path.home() / ".triton" / "cache")}
    return replace(challenge, environment=kept, seconds=SECONDS, memory_mb=0)


def cuda_devices() -> int:
    """Count the devices that the CUDA driver sees; 0 where there is no driver. Does not import torch."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
