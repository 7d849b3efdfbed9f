"""Requests that are sent together: the answers are those of one by one, and none is taken for another's."""

from __future__ import annotations

import os

import numpy as np
import pytest

from grader.ground.arrays import array
from grader.sandbox import Earlier, Request, Session, WorkerFailure
from grader.sandbox.channel import PIPE, Channel
from grader.sandbox.protocol.frames import framed
from grader.sandbox.worker.serve import MOST_HELD, FrameStream
from tests.sandbox.conftest import DRIVER

DOUBLES = b"def f(n, x=None): return 2 * n"
ENDS_ON_3 = b"""
import os, time
def f(n):
    if n == 3:
        END
    return 2 * n
"""


def calls(*numbers: int) -> list[Request]:
    return [Request("call", {"n": number}) for number in numbers]


def told(session: Session, request: Request) -> object:
    return session.ask(request, max_reply_bytes=64).values.get("out")


@pytest.fixture
def used(sandbox, monkeypatch):
    """Open sessions that have answered a case already; note how many frames each of their writes holds."""
    opened, writes = [], []
    send = Channel.send

    def noting(self, blobs, deadline):
        blobs = list(blobs)
        writes.append(len(blobs))
        send(self, blobs, deadline)

    monkeypatch.setattr(Channel, "send", noting)

    def start(source: bytes, seconds: float = 5.0) -> tuple[Session, list[int]]:
        session = sandbox.open(source, DRIVER)
        opened.append(session)
        session.load()
        told(session, calls(1)[0])
        session.reload(seconds)
        writes.clear()
        return session, writes

    yield start
    for session in opened:
        session.close()


def test_pipelined_requests_go_out_at_once_and_are_answered_in_order(used) -> None:
    session, writes = used(DOUBLES)
    asked = calls(1, 2, 3)
    session.pipeline((request, 64) for request in asked)
    assert [told(session, request) for request in asked] == [2, 4, 6]
    assert told(session, calls(7)[0]) == 14
    assert writes == [4, 1]  # the reload, the three; then the one that was not pipelined


def test_a_new_worker_is_asked_one_by_one(sandbox) -> None:
    with sandbox.open(DOUBLES, DRIVER) as session:
        session.load()
        asked = calls(1, 2)
        assert session.pipeline((request, 64) for request in asked) == 0
        assert [told(session, request) for request in asked] == [2, 4]


def test_what_does_not_fit_into_the_pipe_is_sent_when_it_is_asked(used) -> None:
    session, writes = used(DOUBLES)
    large = array(np.zeros(PIPE // 3 // 4, np.float32))
    asked = [Request("call", {"n": n}, {"x": large}) for n in range(4)]
    session.pipeline((request, 64) for request in asked)
    assert [told(session, request) for request in asked] == [0, 2, 4, 6]
    assert writes == [3, 1, 1]


def test_answers_nobody_asks_for_are_not_taken_for_those_of_the_next_case(used) -> None:
    session, _ = used(DOUBLES)
    asked = calls(1, 2, 3)
    session.pipeline((request, 64) for request in asked)
    assert told(session, asked[0]) == 2
    session.drain()
    assert not session.broken
    session.reload(5)
    assert told(session, calls(50)[0]) == 100


@pytest.mark.parametrize("end", ["os._exit(0)", "time.sleep(60)"])
def test_a_worker_that_ends_before_its_last_answer_is_broken(used, end: str) -> None:
    session, _ = used(ENDS_ON_3.replace(b"END", end.encode()), seconds=0.5)
    asked = calls(1, 3, 5)
    session.pipeline((request, 64) for request in asked)
    with pytest.raises(WorkerFailure):
        _ = [told(session, request) for request in asked]
    assert session.broken


def test_a_worker_that_ends_unasked_is_broken_too(used) -> None:
    source = (
        f"import torch, time\ndef f(n): return torch.ones({MOST_HELD}) if n < 3 else time.sleep(60)"
    )
    session, _ = used(source.encode(), seconds=0.5)
    asked = calls(1, 3, 5)
    session.pipeline((request, 8 * MOST_HELD) for request in asked)
    assert session.ask(asked[0], max_reply_bytes=8 * MOST_HELD).tensors["out"].values.all()
    session.drain()
    assert session.broken


ACCUMULATES = b"""
import torch
kept = torch.zeros(2, 4)
def f(n=0, x=None):
    if x is None:
        kept.copy_(torch.arange(8.0).view(2, 4))
        return kept
    kept.fill_(9)
    return x * 1
"""


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((), [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (((None, None), (None, 2)), [[0, 1], [4, 5]]),
        (((-1, None), (1, -1)), [[5, 6]]),
        (((0, 0),), np.zeros((0, 4))),
    ],
)
def test_a_worker_puts_in_what_it_answered_not_what_became_of_it(used, bounds, expected) -> None:
    session, writes = used(ACCUMULATES)
    part = Earlier("first", "out", "float32", bounds)
    asked = [Request("call", save="first"), *[Request("call", earlier={"x": part})] * 2]
    session.pipeline((request, 999) for request in asked)
    replies = [session.ask(request, max_reply_bytes=999) for request in asked]
    for reply in replies[1:]:
        assert np.array_equal(reply.tensors["out"].values, np.array(expected, np.float32))
        assert reply.echo == {}
    assert writes == [4]


def test_an_answer_sent_on_arrives_in_the_dtype_of_the_case_and_its_change_is_seen(used) -> None:
    source = b"import torch\ndef f(n=0, x=None): return torch.ones(3).double() if x is None else x.mul_(2)"
    session, _ = used(source)
    part = Earlier("first", "out", "bfloat16")
    session.ask(Request("call", save="first"), max_reply_bytes=99)
    reply = session.ask(Request("call", earlier={"x": part}), max_reply_bytes=99)
    for twice in (reply.tensors["out"], reply.echo["x"]):
        assert (twice.dtype, twice.values.tolist()) == ("bfloat16", [2, 2, 2])


def test_answers_are_forgotten_with_the_case(used) -> None:
    session, _ = used(b"def f(n=None, x=None): return 1")
    session.ask(Request("call", save="first"), max_reply_bytes=99)
    session.reload(5)
    part = Earlier("first", "out", "float32")
    reply = session.ask(Request("call", earlier={"x": part}), max_reply_bytes=99)
    assert "KeyError" in reply.raised.types


@pytest.fixture
def stream():
    """A worker's stream, and the grader's ends of its pipes: where requests are written and answers are read."""
    theirs, requests = os.pipe()
    answers, ours = os.pipe()
    yield FrameStream(theirs, ours), requests, answers
    for fd in (theirs, requests, answers, ours):
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_frame_may_come_in_pieces_and_several_at_once(stream) -> None:
    end, requests, _ = stream
    whole = framed(b"first") + framed(b"") + framed(b"third")
    for part in (whole[:3], whole[3:]):
        os.write(requests, part)
    assert [end.read() for _ in range(3)] == [b"first", b"", b"third"]


def test_answers_are_held_back_until_there_is_nothing_left_to_read(stream) -> None:
    end, requests, answers = stream
    os.set_blocking(answers, False)
    os.write(requests, framed(b"a") + framed(b"b"))
    for _ in range(2):
        end.write(end.read().upper())
        with pytest.raises(BlockingIOError):
            os.read(answers, 99)
    os.close(requests)
    with pytest.raises(EOFError):
        end.read()
    assert os.read(answers, 99) == framed(b"A") + framed(b"B")


def test_large_answers_are_not_held_back(stream) -> None:
    end, _, answers = stream
    end.write(bytes(MOST_HELD - 100))
    os.set_blocking(answers, False)
    with pytest.raises(BlockingIOError):
        os.read(answers, 1)
    end.flush()
    assert len(os.read(answers, 2 * MOST_HELD)) == MOST_HELD - 92
