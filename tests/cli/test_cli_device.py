"""`grade --device`: a clear line where there is no GPU, and what a GPU is given where there is one."""

from __future__ import annotations

import pytest

from grader.cli import device
from grader.cli.device import on_device
from grader.content import load_challenge
from grader.ground.errors import UserError
from grader.judge import sandbox_start
from grader.sandbox.spawn import FORKS


def test_the_cpu_needs_nothing():
    challenge = load_challenge("triton_decode")
    assert on_device(challenge, "cpu", isolated=True) is challenge


def test_without_a_gpu_one_line_says_so(monkeypatch):
    monkeypatch.setattr(device, "cuda_devices", lambda: 0)
    with pytest.raises(UserError, match=r"^No CUDA device was found; leave --device out"):
        on_device(load_challenge("triton_decode"), "cuda", isolated=False)


def test_a_challenge_without_kernels_stays_on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "cuda_devices", lambda: 1)
    with pytest.raises(UserError, match="has no kernels"):
        on_device(load_challenge("static_cache"), "cuda", isolated=False)


def test_a_gpu_is_not_used_from_inside_the_sandbox(monkeypatch):
    monkeypatch.setattr(device, "cuda_devices", lambda: 1)
    with pytest.raises(UserError, match="--no-isolation"):
        on_device(load_challenge("triton_decode"), "cuda", isolated=True)


def test_on_a_gpu_kernels_are_compiled_and_not_interpreted(monkeypatch):
    monkeypatch.setattr(device, "cuda_devices", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    there = on_device(load_challenge("triton_decode"), "cuda", isolated=False)
    assert "TRITON_INTERPRET" not in there.environment
    assert there.environment["CUDA_VISIBLE_DEVICES"] == "3"
    assert there.environment["KVDOJO_DEVICE"] == "cuda"
    assert there.memory_mb == 0
    assert there.cases == load_challenge("triton_decode").cases


def test_counting_devices_needs_no_driver(monkeypatch):
    def missing(_name):
        raise OSError("no such library")

    monkeypatch.setattr(device.ctypes, "CDLL", missing)
    assert device.cuda_devices() == 0


def test_what_a_gpu_driver_has_begun_is_never_forked(monkeypatch):
    monkeypatch.setattr(device, "cuda_devices", lambda: 1)
    there = on_device(load_challenge("triton_decode"), "cuda", isolated=False)
    started = {}
    monkeypatch.setattr(sandbox_start.Sandbox, "start", lambda **given: started.update(given))
    sandbox_start.start_sandbox(there, isolate=False)
    assert started["forks"] is False
    sandbox_start.start_sandbox(load_challenge("triton_decode"), isolate=False)
    assert started["forks"] is FORKS
