"""The commonest configurations compile for sm_90 without spills, on a machine without a GPU.

All configurations: `make aot`.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kernels.aot import SHARED_LIMIT, Compiled, configurations

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Triton is made for Linux")


def test_the_commonest_configurations_compile_without_spills():
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "kernels.aot", "--few"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert {"append", "decode", "combine", "paged", "prefill"} == set(names)


def test_in_the_interpreter_nothing_would_be_compiled():
    done = subprocess.run(
        [sys.executable, "-m", "kernels.aot"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "TRITON_INTERPRET" in done.stderr


def test_what_counts_as_a_fault():
    attention = next(each for each in configurations() if each.pipelined)
    combine = next(each for each in configurations() if not each.pipelined)
    good = Compiled(registers=90, spilled=0, shared=70000, copies=40, tensor_cores="mma")
    assert good.faults(attention) == []
    bad = Compiled(255, 16, SHARED_LIMIT + 1, 0, "-")
    assert len(bad.faults(attention)) == 3
    assert len(bad.faults(combine)) == 2
