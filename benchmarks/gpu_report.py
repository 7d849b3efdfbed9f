"""What the GPU benchmark found, as text, as a plot, and against the bars set beforehand. Measures nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.contenders import OURS, RIVALS, Load

CAP = 2e-2  # error of a right answer to a unit normal bfloat16 load

Found = dict[
    str, dict[str, Any]
]  # by contender: error, eager_us and graph_us, or why it was skipped


def title(load: Load) -> str:
    """Name a load with its kind."""
    return f"{'decode' if load.S == 1 else 'prefill'} {load.name}"


def show(load: Load, found: Found, bandwidth: float) -> None:
    """Print a load's table: times, bytes or operations per second, and the ratio to the kernels."""
    mine = found[OURS].get("graph_us")
    print(f"\n{title(load)}, {load.S} queries, {load.kv_bytes / 1e6:.0f} MB of K/V")
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


def best_rival(found: Found) -> float:
    """Graph time of the fastest of SDPA's back ends and FlexAttention among those that are right."""
    right = (found[r] for r in RIVALS if found[r].get("error", math.inf) <= CAP)
    return min((each["graph_us"] for each in right if "graph_us" in each), default=math.nan)


def wrong(results: dict[Load, Found]) -> list[str]:
    """Answers of the kernels at the timed sizes that are not right."""
    return [
        f"{title(load)}: {name} is off by {each['error']:.1e}"
        for load, found in results.items()
        for name, each in found.items()
        if name.startswith(OURS) and not each["error"] <= CAP
    ]


def bars(results: dict[Load, Found], bandwidth: float) -> list[tuple[str, bool]]:
    """What the kernels are meant to reach on an H200, and whether they did."""
    judged = []
    for load, found in results.items():
        us, best = found[OURS]["graph_us"], best_rival(found)
        if load.S > 1 and not load.ragged:
            flash = found["sdpa flash"].get("graph_us", math.nan)
            judged.append((f"{title(load)}: at least 60 % of SDPA flash", us * 0.6 <= flash))
            continue
        if load.kv_bytes >= 500e6:
            reached = load.kv_bytes / us * 1e6 >= 0.85 * bandwidth
            judged.append((f"{title(load)}: at least 85 % of the copy", reached))
        if load.ragged:
            judged.append((f"{title(load)}: faster than any rival", us < best))
        else:
            judged.append((f"{title(load)}: no slower than any rival", us <= best))
        if load.lens == (4096,):
            judged.append((f"{title(load)}: at most 15 us", us <= 15.0))
    return judged


def plot(results: dict[Load, Found], path: Path) -> None:
    """Draw how many times faster than their best rival the kernels are, load by load."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ratios = [best_rival(found) / found[OURS]["graph_us"] for found in results.values()]
    figure, axes = pyplot.subplots(figsize=(8, 0.35 * len(ratios) + 1), layout="constrained")
    axes.barh([title(load) for load in results], ratios)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel(
        "time of the best rival / time of the kernels\n(CUDA graph, cold L2; more is better)"
    )
    figure.savefig(path, dpi=150)
