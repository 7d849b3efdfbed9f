"""The kernels on a CUDA device: `python -m benchmarks.gpu [--dry-run] [--only TEXT] [--out FOLDER]`.

First every kernel must agree with float64; then each load is timed, with a cold L2 cache, as a CUDA graph and as
an eager call, beside SDPA's back ends, FlexAttention and torch.compile on the same tensors. Times are set
against the bandwidth of a copy measured in the same run. Writes gpu.json and gpu.png; `--dry-run` checks the
answers at tiny sizes on a CPU and times nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.contenders import (
    DECODE,
    OURS,
    PREFILL,
    TINY,
    Call,
    Load,
    contenders,
    make_inputs,
)
from benchmarks.exactness import check_everything, error
from benchmarks.gpu_report import bars, plot, show, title, wrong
from grader.ground.files import write_atomically

ROUNDS, WARM = 30, 5
LEAST, ENOUGH = 10, 5e5  # after so many rounds and microseconds a slow call is known


class Clock:
    """Times calls on a CUDA device, the L2 cache emptied before each."""

    def __init__(self) -> None:
        self.flush = torch.empty(512 * 2**20, dtype=torch.int8, device="cuda")

    def median(self, call: Callable[[], Any]) -> float:
        """Median microseconds between two events around a call."""
        times = []
        for turn in range(WARM + ROUNDS):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self.flush.zero_()
            start.record()
            call()
            end.record()
            end.synchronize()
            if turn >= WARM:
                times.append(start.elapsed_time(end) * 1e3)
            if len(times) >= LEAST and sum(times) >= ENOUGH:
                break
        return statistics.median(times)

    def graph(self, call: Call) -> float:
        """The same, of a CUDA graph of the call: what is left when Python is out of the way."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        return self.median(graph.replay)

    def copy_bandwidth(self) -> float:
        """Bytes per second, read and written, of a device-to-device copy of 2 GiB."""
        source = torch.empty(2**31, dtype=torch.int8, device="cuda")
        target = torch.empty_like(source)
        return 2 * source.numel() / (self.median(lambda: target.copy_(source)) * 1e-6)


def measure(load: Load, clock: Clock | None, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Error and times of each contender on a load; a contender that cannot take it says why."""
    x = make_inputs(load, device, dtype)
    found: dict[str, Any] = {}
    for name, make in contenders(compiled=clock is not None).items():
        torch.compiler.reset()  # what was compiled for other sizes counts against a limit
        try:
            call = make(x)
            found[name] = {"error": error(x, call())}
            if clock:
                found[name] |= {"eager_us": clock.median(call), "graph_us": clock.graph(call)}
        except (RuntimeError, NotImplementedError) as refusal:
            if name.startswith(OURS):
                raise
            found[name] = {"skipped": str(refusal).strip().splitlines()[0][:100]}
        gc.collect()
        if clock:
            torch.cuda.empty_cache()
    return found


def main(arguments: list[str]) -> int:
    """Check, measure, print, and write gpu.json and gpu.png."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on a CPU, untimed")
    parser.add_argument("--only", default="", help="only loads whose name contains this")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench-gpu"), help="folder to write to"
    )
    options = parser.parse_args(arguments)
    if options.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"
    elif not torch.cuda.is_available():
        print(
            "no CUDA device: nothing to measure; --dry-run checks the answers on a CPU",
            file=sys.stderr,
        )
        return 2
    elif os.environ.get("TRITON_INTERPRET") == "1":
        print(
            "TRITON_INTERPRET is set: the kernels would not be compiled; unset it", file=sys.stderr
        )
        return 2
    device = "cpu" if options.dry_run else "cuda"
    if faults := check_everything(device):
        print("wrong answers, nothing was timed:\n  " + "\n  ".join(faults), file=sys.stderr)
        return 1
    print(f"every kernel agrees with float64 on {device}; torch {torch.__version__}")
    clock = None if options.dry_run else Clock()
    bandwidth = clock.copy_bandwidth() if clock else math.nan
    if clock:
        print(f"{torch.cuda.get_device_name()}, copy {bandwidth / 1e12:.2f} TB/s")
    results = {}
    for load in TINY if options.dry_run else DECODE + PREFILL:
        if options.only in title(load):
            results[load] = measure(load, clock, torch.bfloat16, device)
            show(load, results[load], bandwidth)
    if clock and results:
        judged = bars(results, bandwidth)
        print("\n" + "\n".join(f"{'reached' if met else 'MISSED ':8} {bar}" for bar, met in judged))
        about = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "copy_bytes_per_s": bandwidth,
            "bars": dict(judged),
            "loads": {title(load): found for load, found in results.items()},
        }
        text = json.dumps(about, indent=1)
        write_atomically(options.out / "gpu.json", text + "\n")
        plot(results, options.out / "gpu.png")
        print(f"\nwrote {options.out}/gpu.json and gpu.png")
    for line in (faults := wrong(results)):
        print(line, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
