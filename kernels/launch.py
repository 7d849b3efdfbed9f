"""Whether kernels can run on a device here: a GPU needs Triton compiled, a CPU Triton interpreted."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def require(device: torch.device) -> None:
    """Refuse a device that no kernel can run on in this process."""
    try:
        from kernels.append import _append_kernel
    except ModuleNotFoundError as missing:
        raise RuntimeError("the kernels need Triton, which is made for Linux only") from missing
    # what `triton.jit` returns was settled when triton was imported
    interpreted = type(_append_kernel).__name__ == "InterpretedFunction"
    if device.type == "cpu" and not interpreted:
        raise RuntimeError(
            "CPU tensors need Triton's interpreter: set TRITON_INTERPRET=1 before Python starts"
        )
    if device.type not in ("cpu", "cuda"):
        raise RuntimeError(f"the kernels run on cuda and cpu, not on {device.type}")


def on(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one, which is where Triton launches; a CPU needs nothing."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
