"""What only a CUDA device can show: compiled kernels agree with float64, and `grade --device cuda` judges with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader.cli.device import cuda_devices
from grader.content import load_challenge

pytestmark = pytest.mark.skipif(cuda_devices() == 0, reason="there is no CUDA device here")
ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python as it is without Triton's interpreter, which these tests are otherwise run with."""
    environment = {name: value for name, value in os.environ.items() if "INTERPRET" not in name}
    line = [sys.executable, *map(str, command)]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_compiled_kernels_and_caches_agree_with_float64():
    done = run("-m", "tests.kernels.on_cuda")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("name", ["triton_decode", "triton_prefill", "paged_cache"])
def test_a_reference_passes_on_a_gpu_and_a_starter_fails(name):
    challenge = load_challenge(name)
    for path, code in ((challenge.reference, 0), (challenge.starter, 1)):
        done = run("-m", "grader", "grade", name, path, "--device", "cuda", "--no-isolation")
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
