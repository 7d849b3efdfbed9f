"""The folder that every worker may write into: what fits, what is refused, and that nothing in it is handed on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.sandbox import Limits, Request, Sandbox, WorkerFailure
from grader.sandbox.warm.folders import Folders, remove, state_of, touched
from tests.sandbox.conftest import DRIVER

FILL = """
import os
def f(path="", text=""):
    if text:
        with open(os.path.join(os.environ["HOME"], path), "a") as file:
            file.write(text)
    return {"found": sorted(os.listdir(os.environ["HOME"])), "time": os.stat(os.environ["HOME"]).st_mtime,
            "home": os.environ["HOME"]}
"""


def asked(sandbox: Sandbox, source: str, **arguments: object):
    with sandbox.open(source.encode(), DRIVER) as session:
        loaded = session.load()
        assert loaded.raised is None, loaded.raised
        reply = session.ask(Request("call", arguments), max_reply_bytes=1 << 16)
        assert reply.raised is None, reply.raised
        return reply.values


@pytest.fixture
def own() -> Iterator[Sandbox]:
    with Sandbox.start() as box:
        box.ready()
        if not box.isolated:
            pytest.skip(box.notice or "not isolated")
        yield box


@pytest.mark.parametrize(
    "use",
    [
        "import tempfile\ndef f():\n with tempfile.TemporaryFile() as t: return t.write(b'abc')",
        "import tempfile, os\ndef f():\n with tempfile.TemporaryDirectory() as t: return len(os.listdir(t)) + 3",
        "import torch, io\ndef f(): torch.save(torch.ones(3), 'x.pt'); return len(torch.load('x.pt'))",
        "from pathlib import Path\ndef f(): return (Path.home() / 'notes').write_text('abc')",
        "import os\nos.makedirs('a/b'); open('a/b/c', 'w').close(); os.rename('a/b/c', 'a/b/d')\n"
        "def f(): return len(os.listdir('a/b')) + 2",
    ],
)
def test_temporary_files_work_where_a_program_would_have_them(sandbox, use) -> None:
    assert asked(sandbox, use) == {"out": 3}


def test_a_worker_finds_an_empty_folder_whatever_was_in_it(sandbox) -> None:
    seen = []
    for number in range(6):
        values = asked(sandbox, FILL, path=f"note{number}", text="x" * (number % 2))
        seen.append(values["home"])
        assert values["found"] == ([f"note{number}"] if number % 2 else [])
        assert (values["time"] == 0) is not bool(number % 2)
        assert not os.path.exists(values["home"]) or not os.listdir(values["home"])
    assert len(set(seen)) == 6, "a name is never used twice"


def test_a_case_that_wrote_is_seen_by_the_grader(sandbox) -> None:
    with sandbox.open(FILL.encode(), DRIVER) as session:
        session.load()
        session.ask(Request("call"), max_reply_bytes=1 << 12)
        assert not session.touched
        session.reload(5)
        session.ask(Request("call", {"path": "a", "text": "b"}), max_reply_bytes=1 << 12)
        assert session.touched


def test_files_and_bytes_are_counted(sandbox) -> None:
    count = """
def f():
    made = 0
    try:
        while True:
            open(f"file{made}", "w").close()
            made += 1
    except OSError as error:
        return [made, error.errno]
"""
    assert asked(sandbox, count) == {"out": [256, 122]}
    removed = count.replace("made += 1", "made += 1; os.unlink(f'file{made - 1}')")
    assert asked(sandbox, "import os" + removed) == {"out": [256, 122]}
    folders = count.replace('open(f"file{made}", "w").close()', 'os.mkdir(f"file{made}")')
    assert asked(sandbox, "import os" + folders) == {"out": [256, 122]}
    size = """
def f():
    file = open("large", "wb", buffering=0)
    try:
        while True:
            file.write(b"x" * 4096)
    except OSError as error:
        return [file.tell(), error.errno]
"""
    assert asked(sandbox, size) == {"out": [1 << 20, 27]}


def test_what_is_refused_for_its_size_is_told_as_blocked(ask) -> None:
    raised = ask("def f():\n for n in range(300): open(f'{n}', 'w').close()").raised
    assert raised.blocked
    assert "256 files" in raised.message


def test_nobody_reaches_the_folder_of_another(sandbox) -> None:
    with sandbox.open(FILL.encode(), DRIVER) as first:
        first.load()
        home = first.ask(Request("call", {"path": "a", "text": "b"}), max_reply_bytes=1 << 12)
        theirs = home.values["home"]
        reach = f"""
import os
def f():
    got = []
    for call in (lambda: open("{theirs}/a").read(), lambda: open("{theirs}/new", "w"),
                 lambda: os.listdir("{theirs}"), lambda: os.listdir("{os.path.dirname(theirs)}"),
                 lambda: os.rename("{theirs}/a", "a"), lambda: os.mkdir("{theirs}/b"),
                 lambda: os.unlink("{theirs}/a"), lambda: os.rmdir("{theirs}")):
        try:
            call()
            got.append(1)
        except OSError:
            got.append(0)
    return got
"""
        assert asked(sandbox, reach) == {"out": [0] * 8}


HOSTILE = """
import os
open("a", "w").write("note")
os.mkdir("closed", 0)
deep = os.open(".", os.O_RDONLY)
for _ in range(40):
    os.mkdir("d" * 200, dir_fd=deep)
    deep = os.open("d" * 200, os.O_RDONLY, dir_fd=deep)
for name in ("\\n", "*", "-rf", "..x", b"\\xff\\xfe", "x" * 255, " "):
    open(name, "wb").write(b"note")
def f():
    while True: pass
"""


def test_whatever_a_killed_worker_left_is_removed(own) -> None:
    root = Path(asked(own, FILL)["home"]).parent
    with own.open(HOSTILE.encode(), DRIVER, limits=Limits(seconds=0.5)) as session:
        assert session.load().raised is None
        with pytest.raises(WorkerFailure):
            session.ask(Request("call"), max_reply_bytes=9)
        assert session.touched
    assert all(os.listdir(folder) == [] for folder in root.iterdir())
    assert asked(own, FILL)["found"] == []


@pytest.mark.parametrize("how", ["close", "kill", "stop"])
def test_the_folders_go_with_the_sandbox(how) -> None:
    with Sandbox.start() as box:
        box.ready()
        if not box.isolated:
            pytest.skip(box.notice or "not isolated")
        session = box.open(FILL.encode(), DRIVER)
        session.load()
        home = session.ask(
            Request("call", {"path": "a", "text": "b"}), max_reply_bytes=1 << 12
        ).values["home"]
        assert os.path.isfile(f"{home}/a")
        if how == "kill":
            os.kill(box.pid, signal.SIGKILL)
            time.sleep(0.2)
        else:
            session.close()
        if how == "stop":
            os.kill(box.pid, signal.SIGSTOP)
    assert not os.path.exists(os.path.dirname(home))


def test_without_room_for_a_folder_the_user_is_told(monkeypatch) -> None:
    monkeypatch.setattr("grader.sandbox.spawn.BOOT", _without_temporary_folders())
    with Sandbox.start() as box:
        box.ready()
        if not box.isolated:
            pytest.skip(box.notice or "not isolated")
        assert "no temporary folder can be made" in (box.notice or "")
        assert asked(box, "import tempfile\ndef f(): return tempfile.gettempdir()")
        with box.open(b"import tempfile\ndef f(): tempfile.TemporaryFile()", DRIVER) as session:
            session.load()
            raised = session.ask(Request("call"), max_reply_bytes=9).raised
    assert raised.blocked
    assert "no folder" in raised.message


def _without_temporary_folders() -> str:
    from grader.sandbox.spawn import BOOT

    return BOOT.replace(
        "main()", "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/proc']; main()"
    )


def test_a_folder_is_used_again_only_if_nothing_was_made_in_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders = Folders()
    first = folders.lend()
    assert first
    assert not touched(first.path)
    assert state_of(first.path) == ()
    assert folders.give_back(first)
    again = folders.lend()
    assert again
    assert again.mark == first.mark
    Path(again.path, "a").touch()
    before = state_of(again.path)
    assert before == state_of(again.path) != ()
    Path(again.path, "a").write_text("b")
    assert before != state_of(again.path)
    assert not folders.give_back(again)
    assert not os.path.exists(again.path)
    other = folders.lend()
    assert other
    assert other.mark != again.mark
    folders.close()
    assert list(tmp_path.iterdir()) == []


def test_a_tree_is_removed_whatever_it_holds_and_links_are_not_followed(tmp_path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("x")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "link").symlink_to(kept)
    (tree / "a" / "folders").symlink_to(tmp_path)
    os.mkfifo(tree / "fifo")
    (tree / "closed").mkdir(0)
    remove(str(tree))
    assert not tree.exists()
    assert kept.read_text() == "x"


def test_where_nothing_is_counted_there_is_no_folder_and_no_fork() -> None:
    weak = frozenset({"seccomp-supervision"})
    with Sandbox(isolate=True, preload=(), env={}, without=weak) as box:
        box.ready()
        if not box.isolated:
            pytest.skip(box.notice or "not isolated")
        assert "outside of other sandboxes" in (box.notice or "")
        with box.open(SLOW.encode(), DRIVER) as session:
            session.load()
            for _ in range(3):
                reply = session.ask(Request("call"), max_reply_bytes=99)
                assert reply.values == {"out": 1}, reply.raised
                session.reload(5)
        with box.open(b"def f(): open('a', 'w')", DRIVER) as session:
            session.load()
            assert session.ask(Request("call"), max_reply_bytes=9).raised.blocked


SLOW = """
import time
began = time.process_time()
while time.process_time() - began < 0.1: pass
count = 0
def f(do=""):
    global count
    count += 1
    exec(do)
    return count
"""


def test_a_slow_file_is_executed_once_and_each_case_begins_after_the_import(sandbox) -> None:
    with sandbox.open(SLOW.encode() + b"print('loaded')", DRIVER) as session:
        session.load()
        assert session.forks
        for _ in range(5):
            assert session.ask(Request("call"), max_reply_bytes=99).values == {"out": 1}
            assert session.ask(Request("call"), max_reply_bytes=99).values == {"out": 2}
            session.reload(5)
            assert "loaded" not in session.log
        asked = [(Request("call"), 99) for _ in range(3)]
        assert session.pipeline(asked) == 3
        assert [session.ask(request, max_reply_bytes=99).values["out"] for request, _ in asked] == [
            1,
            2,
            3,
        ]


@pytest.mark.parametrize(
    ("do", "kind", "said"),
    [
        ("import os; os._exit(0)", "crashed", "exited with code 0"),
        ("import os; os._exit(3)", "crashed", "exited with code 3"),
        ("import ctypes; ctypes.string_at(0)", "crashed", "SIGSEGV"),
        ("while True: pass", "timeout", "no answer within"),
        ("import time; time.sleep(60)", "timeout", "no answer within"),
        ("x = [bytearray(1 << 20) for _ in range(100000)]", "memory", ""),
    ],
)
def test_the_end_of_a_child_is_told_like_that_of_a_worker(sandbox, do, kind, said) -> None:
    with sandbox.open(SLOW.encode(), DRIVER, limits=Limits(seconds=2, memory_mb=600)) as session:
        session.load()
        assert session.forks
        assert session.ask(Request("call"), max_reply_bytes=99).values == {"out": 1}
        seconds = 20 if kind == "memory" else 1  # to fill memory takes its time on a busy machine
        session.reload(seconds)
        if kind == "memory":
            reply = session.ask(Request("call", {"do": do}), max_reply_bytes=99)
            assert "MemoryError" in reply.raised.types
            return
        with pytest.raises(WorkerFailure, match=said) as caught:
            session.ask(Request("call", {"do": do}), max_reply_bytes=99)
        assert caught.value.kind == kind


def test_nothing_of_a_forking_worker_is_left(sandbox) -> None:
    stay = "import os, signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    with sandbox.open(SLOW.encode(), DRIVER, limits=Limits(seconds=0.6)) as session:
        session.load()
        with pytest.raises(WorkerFailure):
            session.ask(Request("call", {"do": stay}), max_reply_bytes=9)
    with open(f"/proc/{sandbox.pid}/task/{sandbox.pid}/children", encoding="ascii") as file:
        assert file.read() == ""


FORKS = """
import os, time
began = time.process_time()
while time.process_time() - began < 0.1:
    try:
        os.fork()
        print("ESCAPED")
    except OSError: pass
def f():
    try:
        os.fork()
        return "forked"
    except PermissionError:
        return "refused"
"""


def test_a_file_cannot_fork_by_itself(sandbox) -> None:
    with sandbox.open(FORKS.encode(), DRIVER) as session:
        session.load()
        assert session.forks
        for _ in range(3):
            assert session.ask(Request("call"), max_reply_bytes=99).values == {"out": "refused"}
            assert "ESCAPED" not in session.log
            session.reload(5)
