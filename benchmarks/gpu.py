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
    RIVALS,
    TINY,
    Call,
    Load,
    contenders,
    make_inputs,
)
from benchmarks.exactness import check_everything, error
from grader.files import write_atomically

ROUNDS, WARM = 30, 5


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


def show(load: Load, found: dict[str, Any], bandwidth: float) -> None:
    """Print a load's table: times, bytes or operations per second, and the ratio to the kernels."""
    mine = found[OURS].get("graph_us")
    print(f"\n{load.name}, {load.S} queries, {load.kv_bytes / 1e6:.0f} MB of K/V")
    for name, each in found.items():
        if "skipped" in each:
            print(f"  {name:18} -- {each['skipped']}")
        elif "graph_us" not in each:
            print(f"  {name:18} error {each['error']:.1e}")
        else:
            us = each["graph_us"]
            rate = (
                f"{load.kv_bytes / us / 1e3:6.0f} GB/s {load.kv_bytes / us * 1e6 / bandwidth:4.0%}"
            )
            if load.S > 1:
                rate = f"{load.flops / us / 1e6:6.0f} TFLOP/s"
            print(
                f"  {name:18} graph {us:9.1f} us  eager {each['eager_us']:9.1f} us  {rate}"
                f"  {us / mine:5.2f}x  error {each['error']:.1e}"
            )


def best_rival(found: dict[str, Any]) -> float:
    """Graph time of the fastest of SDPA's back ends and FlexAttention."""
    return min((found[r]["graph_us"] for r in RIVALS if "graph_us" in found[r]), default=math.nan)


def plot(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw how many times faster than their best rival the kernels are, load by load."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ratios = [best_rival(found) / found[OURS]["graph_us"] for found in results.values()]
    figure, axes = pyplot.subplots(figsize=(8, 0.35 * len(ratios) + 1), layout="constrained")
    axes.barh(list(results), ratios)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel(
        "best of SDPA and FlexAttention / kernels (CUDA graph, cold L2; more is better)"
    )
    figure.savefig(path, dpi=150)


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
    if wrong := check_everything(device):
        print("wrong answers, nothing was timed:\n  " + "\n  ".join(wrong), file=sys.stderr)
        return 1
    print(f"every kernel agrees with float64 on {device}; torch {torch.__version__}")
    clock = None if options.dry_run else Clock()
    bandwidth = clock.copy_bandwidth() if clock else math.nan
    if clock:
        print(f"{torch.cuda.get_device_name()}, copy {bandwidth / 1e12:.2f} TB/s")
    results = {}
    for load in TINY if options.dry_run else DECODE + PREFILL:
        if options.only in load.name:
            title = f"{'decode' if load.S == 1 else 'prefill'} {load.name}"
            results[title] = measure(load, clock, torch.bfloat16, device)
            show(load, results[title], bandwidth)
    if clock and results:
        about = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "copy_bytes_per_s": bandwidth,
        }
        text = json.dumps({**about, "loads": results}, indent=1)
        write_atomically(options.out / "gpu.json", text + "\n")
        plot(results, options.out / "gpu.png")
        print(f"\nwrote {options.out}/gpu.json and gpu.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
