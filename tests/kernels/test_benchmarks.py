"""The benchmarks measure what is right: every contender's answer is compared, and without a GPU nothing is timed."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("transformers")

from benchmarks import decode_step, gpu
from benchmarks.contenders import DECODE, OURS, PREFILL, RIVALS, TINY, Load, make_inputs
from benchmarks.exactness import check_caches, error
from benchmarks.gpu_report import bars, best_rival, plot, show, wrong


def test_without_a_gpu_the_benchmark_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_every_contender_answers_a_ragged_load_or_says_why_not():
    found = gpu.measure(TINY[1], None, torch.bfloat16, "cpu")
    assert "error" in found[OURS]
    for name, each in found.items():
        assert each.get("skipped") or each["error"] < 2e-2, name


def test_a_chunk_behind_a_cache_is_one_that_flash_takes():
    found = gpu.measure(next(x for x in TINY if "behind" in x.name), None, torch.float32, "cpu")
    assert found["sdpa flash"]["error"] < 1e-5


def test_kernels_and_caches_are_checked_before_anything_is_timed():
    assert check_caches("cpu") == []


def test_a_wrong_answer_shows():
    x = make_inputs(TINY[0], "cpu", torch.float32)
    assert error(x, torch.zeros_like(x.q)) > 0.1
    assert error(x, torch.full_like(x.q, math.nan)) == math.inf


def test_operations_are_those_of_the_visible_scores():
    assert Load("", 2, 1, 8, 3, (3, 5)).flops == 4 * 2 * 8 * (1 + 2 + 3 + 3 + 4 + 5)
    assert Load("", 2, 1, 8, 4, (2,)).flops == 4 * 2 * 8 * (1 + 2)
    assert Load("", 2, 1, 8, 1, (5, 3)).kv_bytes == 2 * 8 * 8 * 2


def test_a_decode_step_costs_something_whoever_keeps_the_cache():
    seconds = decode_step.measure(16)
    assert set(seconds) == set(decode_step.CONTENDERS)
    assert min(seconds.values()) > 0
    assert decode_step.main(["ten"]) == 2


def measured(mine: float, theirs: float) -> dict[str, dict[str, object]]:
    found = {name: {"error": 1e-3, "eager_us": theirs, "graph_us": theirs} for name in RIVALS}
    return {OURS: {"error": 1e-3, "eager_us": mine, "graph_us": mine}, **found}


def test_bars_are_judged_by_the_fastest_right_rival(tmp_path, capsys):
    load = next(x for x in DECODE if x.name == "B32 H32/8 4k")
    us = load.kv_bytes / 4e12 * 1e6
    found = measured(us, us * 1.1)
    assert dict(bars({load: found}, 4.3e12)) == {
        "decode B32 H32/8 4k: at least 85 % of the copy": True,
        "decode B32 H32/8 4k: no slower than any rival": True,
    }
    found["flex"] = {"error": 1e-3, "eager_us": 1.0, "graph_us": us / 2}
    found["sdpa math"] = {"error": math.inf, "eager_us": 1.0, "graph_us": 1.0}
    found["sdpa cudnn"] = {"skipped": "no"}
    assert best_rival(found) == us / 2
    assert [met for _, met in bars({load: found}, 5e12)] == [False, False]
    assert [met for _, met in bars({PREFILL[0]: measured(100.0, 61.0)}, 1.0)] == [True]
    assert [met for _, met in bars({PREFILL[0]: measured(100.0, 59.0)}, 1.0)] == [False]
    assert bars({PREFILL[-1]: measured(100.0, 101.0)}, 1.0) == [
        ("prefill B8 H32/8 512 behind ragged: faster than any rival", True)
    ]
    show(load, found, 4.3e12)
    assert "GB/s  93%" in capsys.readouterr().out
    plot({load: found, PREFILL[0]: measured(1.0, 2.0)}, tmp_path / "gpu.png")
    assert (tmp_path / "gpu.png").stat().st_size > 1000


def test_a_wrong_kernel_at_a_timed_size_is_reported():
    found = measured(1.0, 1.0)
    found[OURS]["error"] = math.inf
    assert wrong({DECODE[0]: measured(1.0, 1.0)}) == []
    assert len(wrong({DECODE[0]: found})) == 1
