"""Probes take a submission's jit function as a compile-time argument: that must work in Triton's compiler too.

Graded in the interpreter, they would go wrong on a GPU unseen.  Nothing is run here; no GPU is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Triton is made for Linux")

PROGRAM = """
import triton
import kernels.prefill as file
from grader.kit import probes
from grader.content.driver_loading import execute_driver
from pathlib import Path
from types import SimpleNamespace
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

path = Path("challenges/triton_prefill/driver.py").resolve()
driver = SimpleNamespace(**execute_driver(path, path.read_bytes()))
WHOLE = ("first", "before", "last", "kv_len", "stride", "start", "position", "tiles")
PROBES = [
    (driver._bounds, file._keys_of_block, {"CAUSAL": True}),
    (driver._tile, file._load_values, {"D": 8}),
    (driver._hidden, file._hide, {"CAUSAL": False}),
    (probes.FOLD, file._fold, {"DIVIDE": True}),
    (probes.FOLD, file._fold, {"DIVIDE": False}),
    (probes.FINISH, file._finish, {}),
]
for probe, helper, fixed in PROBES:
    first, *others = probe.arg_names
    fixed = {first: helper, **fixed}
    kinds = {n: "i32" if n in WHOLE else "*i32" if probe is driver._bounds else "*fp32" for n in others}
    signature = {n: "constexpr" if n in fixed else kinds[n] for n in probe.arg_names}
    places = {(probe.arg_names.index(n),): value for n, value in fixed.items()}
    done = triton.compile(ASTSource(probe, signature, places), target=GPUTarget("cuda", 90, 32))
    print(probe.__name__, len(done.asm["ptx"]) > 1000)
"""


def test_probes_compile_around_a_helper_of_the_file(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    names = ["_bounds", "_tile", "_hidden", "FOLD", "FOLD", "FINISH"]
    assert done.stdout.split("\n")[:-1] == [f"{name} True" for name in names]
