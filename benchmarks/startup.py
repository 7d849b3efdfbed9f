"""Start-up times, side by side in one run: `python -m benchmarks.startup`.

Whole processes, interleaved so that a busy machine slows all of them alike; the median of each is compared.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.options import parser

ROUNDS = 7
ROOT = Path(__file__).resolve().parents[1]
REFERENCE = str(ROOT / "reference" / "kv_attention.py")
KVDOJO = [sys.executable, "-m", "grader"]
COMMANDS = {
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    "kvdojo grade (reference, cold)": [*KVDOJO, "grade", "multi_head_attention", REFERENCE],
    "kvdojo --help": [*KVDOJO, "--help"],
    "kvdojo list": [*KVDOJO, "list"],
    "kvdojo start --fresh": [*KVDOJO, "start", "hybrid_state", "--fresh", "7", "--force"],
}


def main() -> None:
    """Print the median of each command and the ratio to the bare import."""
    parser(__doc__).parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "KVDOJO_STATE": folder}
        for _ in range(ROUNDS):
            for name, command in COMMANDS.items():
                began = time.monotonic()
                command = [*command, "--to", f"{folder}/work"] if "start" in command else command
                subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=env)
                times[name].append(time.monotonic() - began)
    base = statistics.median(times["python -c 'import torch'"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
        print(f"{name:32} {median:6.3f} s  ({spread})  {median / base:5.2f}x import torch")


if __name__ == "__main__":
    main()
