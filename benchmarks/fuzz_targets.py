"""What is fuzzed: everything that reads what others wrote. Each target takes an input or refuses it in its own words.

Any other exception is a crash, and no answer within half a minute is a hang.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from hypothesis import strategies as st

from benchmarks.fuzz_strategies import JSON, changed_bytes, changed_document, changed_text
from grader.content import Catalogue, Challenge, ContentError, load_challenge
from grader.content.bug_detection import entry_status
from grader.content.cases_schema import case_schema, validate_challenge
from grader.content.entries import case_of
from grader.content.jsonfile import parse_json
from grader.content.signatures import foreign_helpers
from grader.content.validation import schema_errors
from grader.ground.arrays import array, pack
from grader.ground.display import escape_for_display, escape_lines
from grader.ground.paths import ROOT
from grader.judge import start_sandbox
from grader.judge.oracle import Oracle
from grader.sandbox import Sandbox, WorkerFailure
from grader.sandbox.protocol import codec, frames

NAME = "decode_positions"
EXAMPLE = {
    "schema": "kvdojo/result/v1",
    "challenge": NAME,
    "submission": {"file": "f.py", "sha256": "0" * 64},
    "verdict": "failed",
    "score": 1,
    "max_score": 2,
    "seconds": 0.5,
    "cases": [
        {"id": "a", "title": "A", "status": "passed", "points": 1, "max_points": 1, "seconds": 0.1, "cause": None},
        {"id": "b", "title": "B", "status": "failed", "points": 0, "max_points": 1, "seconds": 0.1, "cause": {
            "rationale": "It differs.", "help": "Look.", "expected": "1", "actual": "2", "kind": "wrong_value",
            "where": {"step": 0, "output": "out", "index": [0, 1]}}},
    ],
    "bugs": [{"id": "x", "title": "X", "status": "present"}],
    "environment": {"python": "3.11", "torch": None, "triton": None, "device": "cpu", "isolation": ["seccomp"]},
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Inputs, the function they are given to, and what it may raise."""

    inputs: Callable[[], st.SearchStrategy[Any]]
    take: Callable[[Any], object]
    refusals: tuple[type[Exception], ...] = ()
    slow: bool = False
    warm: Callable[[], object] = lambda: None

    def __call__(self, given: Any) -> bool:
        """Return whether the input was taken; anything but a refusal is let through as a crash."""
        try:
            self.take(given)
        except self.refusals:
            return False
        return True


def _frame() -> bytes:
    arrays = {
        "out/x": array(np.arange(6, dtype=np.float32)),
        "in/y": array(np.zeros((2, 1), dtype=np.int64)),
    }
    return pack(arrays, {frames.META_KEY: '{"values":{"a":[1,{"float":"nan"}]},"needed":["_f"]}'})


def _headers() -> st.SearchStrategy[bytes]:
    text = _frame()
    (size,) = struct.unpack_from("<Q", text)
    header = json.loads(text[8 : 8 + size])

    def build(made: Any) -> bytes:
        raw = json.dumps(made).encode()
        return struct.pack("<Q", len(raw)) + raw + text[8 + size :]

    return changed_document(header).map(build)


def _read_reply(blob: bytes) -> None:
    reply = codec.read_reply(blob)
    for item in (*reply.tensors.values(), *reply.echo.values()):
        assert item.values.shape == item.shape


def _read_challenge(given: tuple[str, Any]) -> None:
    """Read a challenge folder of which one file is the given one."""
    name, document = given
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "challenges", NAME)
        shutil.copytree(ROOT / "challenges" / NAME, folder)
        (folder / name).write_text(json.dumps(document))
        challenge = Catalogue(Path(root)).load(NAME)
        _ = challenge.cases, challenge.bugs
        validate_challenge(challenge)


def _challenge_files() -> st.SearchStrategy[tuple[str, Any]]:
    names = ("challenge.json", "bugs.json", "cases.json")
    folder = ROOT / "challenges" / NAME
    return st.one_of(
        *(
            st.tuples(st.just(name), changed_document(json.loads((folder / name).read_text())))
            for name in names
        )
    )


def _export(document: Any) -> None:
    from grader.report.exports import FORMATS, NotJudged
    from grader.report.exports.result_files import read

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.json")
        path.write_text(json.dumps(document))
        (one,) = read(path)
    for name, form in FORMATS.items():
        try:
            text = form.render([one])
        except NotJudged:
            continue
        if name == "junit":
            ElementTree.fromstring(text)
        if form.suffix == ".json":
            json.loads(text)


def _unusable() -> type[Exception]:
    from grader.report.exports.result_files import Unusable

    return Unusable


def _source(text: str) -> None:
    challenge = _challenge()
    entry_status(challenge, text)
    foreign_helpers(challenge, text, ["_visible", "_slots"])


def _show(text: str) -> None:
    assert escape_for_display(text).isprintable()
    assert all(line.isprintable() for line in escape_lines(text))


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ada/decoder.py", "import torch\n" * 20)
        archive.writestr("bob/decoder.py", "x = 1\n")
        archive.writestr("../evil.py", "")
    return stream.getvalue()


def _archive(data: bytes) -> None:
    from grader.classroom.archive_entries import SubmissionRefused, archive_entries

    for bulk in (False, True):
        try:
            leaves = archive_entries(data, bulk=bulk)
        except SubmissionRefused:
            continue
        for leaf in leaves:
            assert not {"..", "", "/"} & set(leaf.parts), leaf.parts
            try:
                assert len(leaf.read(1000)) <= 1000
            except SubmissionRefused:
                continue


def _case(entry: Any) -> None:
    """Do with a case what an author's tools do: validate it, then ask the reference."""
    challenge = _challenge()
    lines = schema_errors(entry, _case_schema(), "case")
    if lines:
        raise ContentError("\n".join(lines))
    Oracle(_sandbox(), challenge).expect(case_of(entry, "case"))


def _cases() -> st.SearchStrategy[Any]:
    return st.sampled_from(_challenge().case_entries).flatmap(
        lambda case: changed_document(case, most=2)
    )


@cache
def _challenge() -> Challenge:
    return load_challenge(NAME)


@cache
def _case_schema() -> dict[str, Any]:
    return case_schema(_challenge())


_open = ExitStack()


@cache
def _sandbox() -> Sandbox:
    box = _open.enter_context(start_sandbox(_challenge()))
    box.ready()
    return box


def close() -> None:
    """End the sandbox, if one was started."""
    _open.close()
    _sandbox.cache_clear()


TARGETS = {
    "wire-bytes": Target(lambda: st.binary(max_size=600), _read_reply, (frames.FrameError,)),
    "wire-frames": Target(lambda: changed_bytes(_frame()), _read_reply, (frames.FrameError,)),
    "wire-headers": Target(_headers, _read_reply, (frames.FrameError,)),
    "json-bytes": Target(
        lambda: st.one_of(st.binary(max_size=200), changed_bytes(json.dumps(EXAMPLE).encode())),
        lambda raw: parse_json(raw, "fuzz"),
        (ContentError,),
    ),
    "challenge-files": Target(_challenge_files, _read_challenge, (ContentError,), slow=True),
    "results": Target(lambda: changed_document(EXAMPLE) | JSON, _export, (_unusable(),)),
    "sources": Target(lambda: changed_text(_challenge().reference_text), _source, slow=True),
    "shown-text": Target(lambda: st.text(st.characters(), max_size=600), _show),
    "archives": Target(lambda: changed_bytes(_zip()) | st.binary(max_size=300), _archive),
    "cases": Target(_cases, _case, (ContentError, WorkerFailure), slow=True, warm=_sandbox),
}
