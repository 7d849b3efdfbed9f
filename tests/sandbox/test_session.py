"""A session end to end: what comes back from honest, broken and silent submissions."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from grader.ground.arrays import TAGS, Array, array
from grader.ground.limits import MAX_SOURCE_BYTES
from grader.sandbox import Limits, Request, WorkerFailure
from grader.sandbox.worker.tensors import nest
from tests.sandbox.conftest import DRIVER

X = array(np.arange(6, dtype=np.float32).reshape(2, 3))


def test_values_and_tensors_come_back_flat(ask):
    source = "def f(x, c): return {'a': {'b': x + 1, 'n': None}, 's': [1, 2.5, float('nan')], **c}"
    reply = ask(source, Request("call", {"c": {"flag": True}}, {"x": X}))
    assert reply.raised is None
    assert reply.problem is None
    assert np.array_equal(reply.tensors["a/b"].values, X.values + 1)
    assert reply.values["a/n"] is None
    assert reply.values["flag"] is True
    assert reply.values["s"][:2] == [1, 2.5]
    assert np.isnan(reply.values["s"][2])


def test_slashed_names_are_nested_in_the_worker(ask):
    request = Request("call", {"cache/value": None}, {"cache/key": X})
    reply = ask("def f(cache): return {'k': cache['key'], 'v': cache['value']}", request)
    assert np.array_equal(reply.tensors["k"].values, X.values)
    assert reply.values == {"v": None}


def test_nesting_merges_arguments_and_tensors():
    assert nest({"a/b": 1, "c": [2]}, {"a/d/e": 3}) == {"a": {"b": 1, "d": {"e": 3}}, "c": [2]}


@pytest.mark.parametrize("dtype", sorted(TAGS))
def test_every_dtype_survives_the_round_trip(ask, dtype):
    sent = array(np.array([[0, 1], [1, 0]]), dtype)
    reply = ask("def f(x): return x.clone()", Request("call", tensors={"x": sent}))
    assert reply.tensors["out"].dtype == dtype
    assert np.array_equal(reply.tensors["out"].values, sent.values)


def test_the_echo_shows_what_the_call_did_to_its_inputs(ask):
    source = "def f(x): x.mul_(2); return x"
    assert np.array_equal(
        ask(source, Request("call", tensors={"x": X})).echo["x"].values, X.values * 2
    )
    assert ask(source, Request("scratch", tensors={"x": X})).echo == {}


def test_the_echo_comes_with_an_exception_too(ask):
    reply = ask("def f(x): x.zero_(); raise ValueError('no')", Request("call", tensors={"x": X}))
    assert "ValueError" in reply.raised.types
    assert not reply.echo["x"].values.any()


def test_an_input_grown_in_place_is_echoed_as_changed(ask):
    reply = ask("def f(x): x.resize_(1000, 1000); return 1", Request("call", tensors={"x": X}))
    assert reply.echo["x"].shape == (0,)


def test_a_kept_object_is_the_very_same_one_later(sandbox):
    source = b"thing = {}\ndef f(live=None): return thing if live is None else live is thing"
    with sandbox.open(source, DRIVER) as session:
        session.load()
        session.ask(Request("call", save="first"), max_reply_bytes=0)
        reply = session.ask(Request("call", live="first"), max_reply_bytes=0)
    assert reply.values == {"out": True}


def test_an_exception_is_told_with_its_line(ask):
    reply = ask("def f():\n    g()\n\ndef g():\n    raise KeyError('k')\n")
    assert reply.raised.types[:3] == ("KeyError", "LookupError", "Exception")
    assert (reply.raised.line, reply.raised.text) == (5, "raise KeyError('k')")


def test_a_class_that_only_shares_a_builtin_name_is_told_apart(ask):
    reply = ask("class ValueError(Exception): pass\ndef f(): raise ValueError")
    assert reply.raised.types[0] == "submission.ValueError"
    assert "ValueError" not in reply.raised.types


def test_a_syntax_error_names_the_line(ask):
    reply = ask("x = 1\ny = (\n")
    assert reply.raised.types[0] == "SyntaxError"
    assert reply.raised.line == 2


@pytest.mark.parametrize(
    "source", [b"\xff\xfe", b"x = '\x00'", b"# coding: rot13\nqrs s(): erghea 1\n"]
)
def test_only_utf8_python_is_loaded(ask, source):
    assert "SyntaxError" in ask(source).raised.types or "ValueError" in ask(source).raised.types


def test_a_byte_order_mark_is_no_error(ask):
    assert ask(b"\xef\xbb\xbfdef f(): return 7").values == {"out": 7}


def test_a_driver_can_say_what_is_wrong(ask):
    problem = ask("", Request("wrong")).problem
    assert (problem.kind, problem.message) == ("wrong_shape", "the driver says so")
    missing = ask("").problem
    assert (missing.kind, missing.name) == ("missing", "f")


@pytest.mark.parametrize(
    "expression",
    [
        "torch.zeros(2, dtype=torch.complex64)",
        "torch.eye(2).to_sparse()",
        "torch.zeros(2, device='meta')",
        "torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)",
        "torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])",
        "object()",
        "{1, 2}",
    ],
)
def test_what_is_no_dense_tensor_is_refused_kindly(ask, expression):
    problem = ask(f"import torch\ndef f(): return {expression}").problem
    assert problem is not None
    assert problem.kind == "wrong_dtype"


def test_a_far_too_large_answer_is_a_wrong_shape(ask):
    problem = ask(
        "import torch\ndef f(): return torch.zeros(1, 1).expand(1 << 22, 1 << 22)"
    ).problem
    assert problem.kind == "wrong_shape"


def test_reading_a_file_is_told_as_blocked(ask):
    raised = ask("def f(): return open('/etc/passwd').read()").raised
    assert raised.blocked
    assert "PermissionError" in raised.types


def test_a_memory_error_is_told_as_one(ask):
    raised = ask("import torch\ndef f(): return torch.zeros(1 << 33)").raised
    assert "MemoryError" in raised.types


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("while True: pass", "timeout"),
        ("import time; time.sleep(60)", "timeout"),
        ("import os; os._exit(0)", "crashed"),
        ("import os; os.close(4); open('/etc/passwd')", "crashed"),
        ("import os; os.write(4, b'x' * 64)", "protocol"),
        ("import ctypes; ctypes.string_at(0)", "crashed"),
    ],
)
def test_silence_is_explained(ask, source, kind):
    with pytest.raises(WorkerFailure) as caught:
        ask(source, limits=Limits(seconds=0.7))
    assert caught.value.kind == kind


def test_a_source_that_is_too_large_is_not_run(sandbox):
    with pytest.raises(WorkerFailure):
        sandbox.open(b"#" * (MAX_SOURCE_BYTES + 1), DRIVER)


def test_the_log_is_cut_and_cannot_move_a_cursor(sandbox):
    source = b"print('\\x1b[2J\\u202eabc')\nprint('x' * 100_000)\ndef f(): return 1"
    with sandbox.open(source, DRIVER) as session:
        session.load()
    assert session.log.startswith("\\x1b[2J\\u202eabc")
    assert "more bytes not kept" in session.log
    assert len(session.log) < 20_000


def test_the_worker_sees_no_repository_and_no_environment(ask):
    source = """
def f():
    import os, sys
    found = []
    for name in ("reference", "grader.content", "grader.judge", "challenges", "tests"):
        try:
            __import__(name)
            found.append(name)
        except ImportError:
            pass
    return {"found": found, "env": sorted(os.environ), "argv": len(sys.argv)}
"""
    reply = ask(source)
    assert reply.values["found"] == []
    assert "OMP_NUM_THREADS" in reply.values["env"]
    assert not {"USER", "PWD", "PYTHONPATH"} & set(reply.values["env"])


def test_sessions_of_two_threads_do_not_mix(sandbox):
    def run(number: int) -> int:
        source = f"def f(): return {number}".encode()
        with sandbox.open(source, DRIVER) as session:
            session.load()
            return session.ask(Request("call"), max_reply_bytes=0).values["out"]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(30))) == list(range(30))


def test_many_sessions_leave_nothing_behind(sandbox):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def children() -> str:
        pid = sandbox.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return file.read()

    before = descriptors()
    for _ in range(200):
        with sandbox.open(b"def f(): return 1", DRIVER) as session:
            session.load()
    assert descriptors() == before
    assert children() == ""


def test_a_session_is_short(sandbox):
    started = time.monotonic()
    for _ in range(20):
        with sandbox.open(b"def f(): return 1", DRIVER) as session:
            session.load()
    assert (time.monotonic() - started) / 20 < 0.25


def test_an_array_keeps_no_reference_to_the_frame(ask):
    reply = ask("def f(x): return x", Request("call", tensors={"x": X}))
    assert isinstance(reply.tensors["out"], Array)


@pytest.mark.parametrize("value", ["'\\ud800'", "'x' * 10_000", "1 << 80", "[[1], [2, [3]]]"])
def test_an_unsendable_value_is_the_submissions_own_fault(ask, value):
    try:
        reply = ask(f"def f(): return {value}")
        blamed = reply.raised or reply.problem
    except WorkerFailure as failure:
        blamed = failure.kind in ("protocol", "crashed")
    assert blamed


@pytest.mark.parametrize(
    "call",
    [
        *("x.t_()", "x.unsqueeze_(0)", "x.data = x.data.clone() + 1", "x.add_(0.0)"),
        *("x.neg_().neg_()", "x.data = x.data.to(torch.complex64)", "x.data = x.data[:1]"),
    ],
)
def test_only_a_changed_input_comes_back(ask, call):
    reply = ask(f"import torch\ndef f(x): {call}; return 1", Request("call", tensors={"x": X}))
    changed = call not in ("x.add_(0.0)", "x.neg_().neg_()")
    assert set(reply.echo) == ({"x"} if changed else set())


@pytest.mark.parametrize("dtype", sorted(TAGS))
def test_an_empty_input_arrives_with_its_shape(ask, dtype):
    sent = array(np.zeros((2, 0, 3)), dtype)
    reply = ask("def f(x): return x.clone()", Request("call", tensors={"x": sent}))
    assert (reply.tensors["out"].dtype, reply.tensors["out"].shape) == (dtype, (2, 0, 3))


def test_a_file_that_cannot_be_executed_twice_says_so_at_the_next_request(sandbox) -> None:
    source = b"import torch\nif hasattr(torch, 'seen'): raise KeyError('again')\ntorch.seen = 1\ndef f(): return 1"
    with sandbox.open(source, DRIVER) as session:
        session.load()
        assert session.ask(Request("call"), max_reply_bytes=9).values == {"out": 1}
        for _ in range(2):
            session.reload(5)
            assert "KeyError" in session.ask(Request("call"), max_reply_bytes=9).raised.types
