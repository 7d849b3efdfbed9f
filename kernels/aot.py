"""Compile every kernel configuration for sm_90 ahead of time, on any Linux machine, and read what came out.

Registers, spills and shared memory are what the wheel's own `cuobjdump` says; the number of asynchronous
copies is counted in the PTX. Nothing is run and no speed follows from it: it tells that a
configuration compiles, fits and is pipelined. Run `python -m kernels.aot`; TRITON_INTERPRET must not be set.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED_LIMIT = 227 * 1024  # bytes that a program may have on sm_90
TYPES = {2: "bf16", 4: "fp32"}


@dataclass(frozen=True)
class Configuration:
    """A kernel with its compile-time constants, as a launcher would choose them."""

    name: str
    kernel: Any
    pointers: dict[str, str]
    constants: dict[str, Any]
    warps: int = 4
    stages: int = 3
    pipelined: bool = True


@dataclass(frozen=True)
class Compiled:
    """What became of a configuration."""

    registers: int
    spilled: int  # bytes of stack
    shared: int  # bytes
    copies: int  # asynchronous copies in the PTX
    tensor_cores: str

    def faults(self, of: Configuration) -> list[str]:
        """Name what is wrong with it."""
        found = []
        if self.spilled:
            found.append(f"spills {self.spilled} bytes")
        if self.shared > SHARED_LIMIT:
            found.append(f"needs {self.shared} bytes of shared memory")
        if of.pipelined and not self.copies:
            found.append("copies nothing asynchronously")
        return found


def _pointers(kind: str, *arrays: str, **others: str) -> dict[str, str]:
    partial = {"Lse": "*fp32", "PartO": "*fp32", "PartLse": "*fp32"}
    return {**dict.fromkeys(arrays, f"*{kind}"), **partial, **others}


def _constants(D: int, itemsize: int, **more: int) -> dict[str, Any]:
    """Compile-time constants that the attention kernels share."""
    padded = 1 << max(4, (D - 1).bit_length())
    modes = {"CAUSAL": True, "WIDE": itemsize == 4, "ROUND": False}
    return {"G": 4, "D": D, "DP": padded, **modes, **more}


def decode_configurations(D: int, itemsize: int, rows: int, splits: int) -> Iterator[Configuration]:
    """Decode with `rows` = S * G rows, and the kernel that combines its splits."""
    from kernels import decode

    R, T, warps, stages = decode.tiling(rows, D, itemsize)
    kind = TYPES[itemsize]
    constants = _constants(D, itemsize, R=R, T=T, SPLITS=splits)
    pointers = _pointers(kind, "Q", "K", "V", "O", SeqLens="*i32")
    name = f"decode {kind} D{D} {R}x{T} splits {splits}"
    yield Configuration(name, decode._decode_kernel, pointers, constants, warps, stages)
    if splits > 1:
        kept = {name: constants[name] for name in ("D", "DP", "SPLITS", "ROUND")}
        combine = {**kept, "SP": splits}
        name = f"combine {kind} D{D} splits {splits}"
        pointers = _pointers(kind, "O")
        yield Configuration(name, decode._combine_kernel, pointers, combine, pipelined=False)


def paged_configurations(D: int, itemsize: int, rows: int, page: int) -> Iterator[Configuration]:
    """Attention through a page table, with 8 splits, and ragged queries."""
    from kernels import paged_cache

    R, T, warps, stages = paged_cache.tiling(rows, D, itemsize)
    kind = TYPES[itemsize]
    constants = _constants(D, itemsize, R=R, T=T, PAGE=page, SPLITS=8, RAGGED=True)
    tables = dict.fromkeys(("PageTable", "SeqLens", "QLens"), "*i32")
    pointers = _pointers(kind, "Q", "KPages", "VPages", "O", **tables)
    name = f"paged {kind} D{D} {R}x{T} page {page}"
    yield Configuration(name, paged_cache._attend_kernel, pointers, constants, warps, stages)


def prefill_configurations(D: int, itemsize: int, S: int) -> Iterator[Configuration]:
    """Prefill of `S` queries."""
    from kernels import prefill

    M, T, warps, stages = prefill.tiling(S, D, itemsize)
    kind = TYPES[itemsize]
    constants = _constants(D, itemsize, M=M, T=T, RAGGED=False)
    pointers = _pointers(kind, "Q", "K", "V", "O", SeqLens="*i32", QLens="*i32")
    name = f"prefill {kind} D{D} {M}x{T}"
    yield Configuration(name, prefill._prefill_kernel, pointers, constants, warps, stages)


def append_configurations() -> Iterator[Configuration]:
    """Both ways to append; they copy a little and need no pipeline."""
    from kernels import append, paged_cache

    arrays = dict.fromkeys(("KNew", "VNew", "K", "V", "KPages", "VPages"), "*bf16")
    lens = {"SeqLens": "*i32", "NewLens": "*i32", "Slots": "*i64"}
    dense = {"HEADS": 8, "HP": 8, "D": 128, "DP": 128, "RAGGED": True}
    yield Configuration("append", append._append_kernel, arrays | lens, dense, pipelined=False)
    paged = {"D": 128, "DP": 128, "PAGE": 16}
    kernel = paged_cache._append_kernel
    yield Configuration("append paged", kernel, arrays | lens, paged, pipelined=False)


def configurations(*, few: bool = False) -> Iterator[Configuration]:
    """Every tile shape that a launcher can choose, for the usual head dims; or the commonest few."""
    yield from append_configurations()
    if few:
        yield from decode_configurations(128, 2, 16, 8)
        yield from paged_configurations(128, 2, 16, 16)
        yield from prefill_configurations(128, 2, 1000)
        return
    for itemsize in (2, 4):
        for D in (64, 80, 128, 256):
            for rows in (16, 32, 64) if itemsize == 2 else (16,):
                yield from decode_configurations(D, itemsize, rows, 1)
                yield from paged_configurations(D, itemsize, rows, 16)
            yield from decode_configurations(D, itemsize, 16, 64)
            for S in (64, 1000) if itemsize == 2 and D <= 128 else (1000,):
                yield from prefill_configurations(D, itemsize, S)


def build(configuration: Configuration) -> Compiled:
    """Compile a configuration for sm_90 and read its resources."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = configuration.kernel.arg_names
    kinds = dict.fromkeys(configuration.constants, "constexpr") | configuration.pointers
    kinds |= {"factor": "fp32"}
    signature = {name: kinds.get(name, "i32") for name in names}
    # strides and addresses of whole tensors are multiples of 16, without which nothing is vectorised
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names)
               if name in configuration.pointers or re.fullmatch(r"[a-z]+_[a-z]", name)}  # fmt: skip
    source = ASTSource(
        fn=configuration.kernel, signature=signature, constexprs=configuration.constants, attrs=aligned
    )  # fmt: skip
    options = {"num_warps": configuration.warps, "num_stages": configuration.stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    ptx = compiled.asm["ptx"]
    usage = _resources(Path(triton.__file__).parent, compiled.asm["cubin"])
    cores = "wgmma" if "wgmma" in ptx else "mma" if "mma.sync" in ptx else "-"
    copies = len(re.findall(r"cp\.async\.c[ag]", ptx))
    return Compiled(usage["REG"], usage["STACK"], compiled.metadata.shared, copies, cores)


def _resources(triton_folder: Path, cubin: bytes) -> dict[str, int]:
    """Registers and stack of the kernel in a cubin."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = triton_folder / "backends" / "nvidia" / "bin" / "cuobjdump"
        done = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    return {key: int(n) for key, n in re.findall(r"(REG|STACK):(\d+)", done.stdout)}


def main(arguments: list[str]) -> int:
    """Print the table and return 1 if a configuration is at fault."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        sys.stderr.write("TRITON_INTERPRET is set: nothing would be compiled; unset it\n")
        return 2
    if set(arguments) - {"--few"}:
        sys.stderr.write("usage: python -m kernels.aot [--few]\n")
        return 2
    head = ("configuration", "warps", "stages", "regs", "spill", "shared", "copies", "mma")
    row = "{:<34} {:>5} {:>6} {:>5} {:>6} {:>7} {:>6}  {:<6}{}\n".format
    sys.stdout.write(row(*head, ""))
    bad = 0
    for each in configurations(few="--few" in arguments):
        made = build(each)
        faults = made.faults(each)
        bad += bool(faults)
        values = (made.registers, made.spilled, made.shared, made.copies, made.tensor_cores)
        sys.stdout.write(row(each.name, each.warps, each.stages, *values, "; ".join(faults)))
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
