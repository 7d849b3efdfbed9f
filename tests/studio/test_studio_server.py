"""The real server: slow clients, too many of them, streams, and what is left when it has ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from studio.made_studio import NAME, Studio, until

import grader.studio.gatekeeper
import grader.studio.studio_server
from grader.ground.errors import UserError
from grader.ground.paths import ROOT
from grader.studio.studio_server import MOST_CONNECTIONS, StudioServer, bind, serving


@pytest.fixture
def served(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Serve the studio from a thread; slow clients are given up soon."""
    monkeypatch.setattr(grader.studio.studio_server, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(grader.studio.gatekeeper, "BODY_SECONDS", 0.4)
    listening = bind(0)
    port = listening.getsockname()[1]
    studio.door._hosts |= {f"127.0.0.1:{port}"}
    server = StudioServer(serving(studio.door), lambda: None, studio.attempts.close)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    until(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def cookie(studio: Studio) -> str:
    return f"studio={studio.door._secret}"


def head(studio: Studio, port: int, request: str, *more: str) -> bytes:
    lines = [f"{request} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Cookie: {cookie(studio)}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def ends(connection: socket.socket, seconds: float) -> bytes:
    """Return what comes until the connection is closed, which must be within that time."""
    connection.settimeout(seconds)
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            data += part
    return data


@pytest.mark.parametrize(
    "begin", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "]
)
def test_a_request_that_drips_in_is_given_up(studio: Studio, served: int, begin: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served)) as connection:
        connection.sendall(begin)
        stop = time.monotonic() + 3
        closed = False
        while time.monotonic() < stop and not closed:
            time.sleep(0.1)
            try:
                connection.sendall(b"a" if begin else b"")
                connection.settimeout(0.01)
                closed = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
        assert closed


def test_a_body_that_drips_in_is_given_up(studio: Studio, served: int) -> None:
    studio.begin()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", served)) as connection:
        origin = f"Origin: http://127.0.0.1:{served}"
        kind = "Content-Type: application/json"
        asked = f"POST /attempt/{NAME}/file"
        connection.sendall(head(studio, served, asked, origin, kind, "Content-Length: 100000"))
        connection.sendall(b'{"text"')
        data = ends(connection, 10)
    assert b" 408 " in data.split(b"\r\n")[0]
    assert time.monotonic() - began < 8


def test_a_second_request_on_a_connection_must_come_in_time_too(
    studio: Studio, served: int
) -> None:
    with socket.create_connection(("127.0.0.1", served)) as connection:
        connection.sendall(head(studio, served, "GET /nothing"))
        time.sleep(0.3)
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        data = ends(connection, 10)
    assert data.count(b"HTTP/1.1 404") == 1


def test_garbage_is_answered_or_closed(studio: Studio, served: int) -> None:
    for junk in (
        *(
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET\r\n\r\n",
            b"\x00" * 70_000,
            b"GET / HTTP/9.9\r\n\r\n",
        ),
        b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n",
    ):
        with socket.create_connection(("127.0.0.1", served)) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(junk)
            assert b" 200 " not in ends(connection, 10)[:40]
    with socket.create_connection(("127.0.0.1", served)) as connection:
        connection.sendall(head(studio, served, "GET /museum", "Connection: close"))
        assert b" 200 " in ends(connection, 10)[:40], "it answers others as before"


def test_no_more_connections_than_a_browser_needs(studio: Studio, served: int) -> None:
    held = [socket.create_connection(("127.0.0.1", served)) for _ in range(MOST_CONNECTIONS + 4)]
    try:
        with socket.create_connection(("127.0.0.1", served)) as connection:
            connection.sendall(head(studio, served, "GET /museum", "Connection: close"))
            assert b" 503 " in ends(connection, 10)[:40]
    finally:
        for one in held:
            one.close()


def test_two_pages_see_the_same_and_a_slow_one_holds_nothing_up(
    studio: Studio, served: int
) -> None:
    live = studio.begin()
    studio.state("✗ failed")
    streams = [socket.create_connection(("127.0.0.1", served)) for _ in range(3)]
    slow = streams.pop()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    for one in (*streams, slow):
        one.sendall(head(studio, served, f"GET /attempt/{NAME}/events"))
    until(lambda: len(live._listeners) == 3)
    studio.grader.log = "x" * 300 + "\n"
    for number in range(30):
        studio.file.write_text(f"x = {number}\n")
        studio.state(f"graded {number + 2} times")
    last = f'data-number="{live.piece.number}"'.encode()
    for one in streams:
        one.settimeout(10)
        data = b""
        while last not in data:
            data += one.recv(65536)
        assert b"graded 31 times" in data
    for one in (*streams, slow):
        one.close()
    until(lambda: not live.watched)


def test_pages_that_listen_are_bounded(studio: Studio, served: int) -> None:
    live = studio.begin()
    held = [socket.create_connection(("127.0.0.1", served)) for _ in range(20)]
    firsts = []
    for one in held:
        one.sendall(head(studio, served, f"GET /attempt/{NAME}/events"))
        one.settimeout(10)
        firsts.append(one.recv(65536).split(b"\r\n")[0])
    assert [b"200" in line for line in firsts].count(True) == 16
    assert all(b"200" in line or b"503" in line for line in firsts)
    for one in held:
        one.close()
    until(lambda: not live.watched)


@pytest.mark.parametrize("port", [1, None])
def test_a_port_that_cannot_be_had_is_told(port: int | None) -> None:
    with bind(0) as taken:
        number = port or taken.getsockname()[1]
        if port == 1 and os.geteuid() == 0:
            pytest.skip("root may have any port")
        with pytest.raises(UserError, match=f"port {number} "):
            bind(number)


def test_only_this_machine_is_answered() -> None:
    with bind(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
        assert not listening.get_inheritable()
        # what asyncio looks for before it sends small packets at once
        assert listening.proto == socket.IPPROTO_TCP


def scratch_of(processes: list[psutil.Process]) -> set[Path]:
    """Return the folders that a sandbox has made for its workers, as far as it holds them open or works in them."""
    held = set()
    for process in processes:
        links = [f"/proc/{process.pid}/cwd", *Path(f"/proc/{process.pid}/fd").glob("*")]
        for link in links:
            with contextlib.suppress(OSError):
                found = re.match(r"/tmp/kvdojo-[^/]+", os.readlink(link))
                held |= {Path(found[0])} if found else set()
    return held


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_it_ends(tmp_path: Path, number: int) -> None:
    environment = os.environ | {"KVDOJO_WORK": str(tmp_path / "work"), "TMPDIR": str(tmp_path)}
    words = [sys.executable, "-m", "grader", "studio", "--no-open", "--port", "0"]
    process = subprocess.Popen(
        *(words,), cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        link = process.stdout.readline().strip()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/)\?key=(\S+)", link)
        assert found, link
        port = int(found[1])
        page = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        page.request("GET", f"/?key={found[3]}")
        answer = page.getresponse()
        answer.read()
        given = (answer.getheader("set-cookie") or "").partition(";")[0]
        headers = {"Cookie": given, "Origin": f"http://127.0.0.1:{port}"}
        page.request("POST", f"/challenge/{NAME}/start", headers=headers)
        answer = page.getresponse()
        answer.read()
        assert answer.status == 303
        page.request("GET", f"/attempt/{NAME}", headers=headers)
        answer = page.getresponse()
        assert b"grade" in answer.read()
        stream = socket.create_connection(("127.0.0.1", port))
        lines = [
            f"GET /attempt/{NAME}/events HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            f"Cookie: {given}",
        ]
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        stream.settimeout(20)
        assert b" 200 " in stream.recv(1000)
        family = psutil.Process(process.pid)
        folders = until(lambda: scratch_of(family.children(recursive=True)), 60)
        children = family.children(recursive=True)
        process.send_signal(number)
        assert process.wait(30) == 130
        told = ends(stream, 5)
        assert b"The studio was ended" in told
        assert b"event: ended" in told
        assert process.stderr is not None
        assert process.stderr.read() == "kvdojo: interrupted\n"
        psutil.wait_procs(children, timeout=10)
        assert not [child for child in children if child.is_running()]
        assert not [folder for folder in folders if folder.exists()]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    finally:
        process.kill()
        process.communicate()
