"""The benchmarks measure what is right: every contender's answer is compared, and without a GPU nothing is timed."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("transformers")

from benchmarks import decode_step, gpu
from benchmarks.contenders import OURS, TINY, Load, make_inputs
from benchmarks.exactness import check_caches, error


def test_without_a_gpu_the_benchmark_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_every_contender_answers_a_ragged_load_or_says_why_not():
    found = gpu.measure(TINY[1], None, torch.bfloat16, "cpu")
    assert "error" in found[OURS]
    for name, each in found.items():
        assert each.get("skipped") or each["error"] < 2e-2, name


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
