"""Messages as frames and back, for both sides: JSON in the metadata of a frame, tensors behind it.

A reply may have been written by a learner: every list, string and dictionary in it has a bound here, and anything
else is refused. The grader's own frames are trusted, so a driver can go to the worker as compiled code
(`pack_driver`).
"""

from __future__ import annotations

import contextlib
import linecache
import marshal
from functools import lru_cache
from types import CodeType
from typing import Annotated, Any

import msgspec

from grader.ground.arrays import pack
from grader.ground.display import escape_characters
from grader.sandbox.protocol import frames
from grader.sandbox.protocol.messages import Earlier, Problem, Raised, Reply, Request, SandboxError

DRIVER = "driver.py"  # its name in tracebacks
Word = Annotated[str, msgspec.Meta(max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
Integer = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Scalar = None | bool | Integer | float | Text | frames.NonFinite
Row = Annotated[list[Scalar], msgspec.Meta(max_length=65536)]
Table = Annotated[list[Scalar | Row], msgspec.Meta(max_length=65536)]
Value = Scalar | Table

OUTPUT = "out/"
ECHO = "in/"


class RequestText(msgspec.Struct, forbid_unknown_fields=True):
    """A request without its tensors; `room` is the number of bytes an answer may have."""

    do: str
    args: dict[str, Any]
    save: str | None
    live: str | None
    room: int
    earlier: dict[str, Earlier] = {}


class RaisedText(msgspec.Struct, forbid_unknown_fields=True):
    """`Raised` as it is sent."""

    types: Annotated[list[Word], msgspec.Meta(max_length=32)]
    message: Text
    line: Integer | None
    text: Text
    blocked: bool


class ProblemText(msgspec.Struct, forbid_unknown_fields=True):
    """`Problem` as it is sent."""

    kind: Word
    message: Text
    name: Word | None


class ReplyText(msgspec.Struct, forbid_unknown_fields=True):
    """A reply without its tensors."""

    values: Annotated[dict[Word, Value], msgspec.Meta(max_length=1024)]
    raised: RaisedText | None = None
    problem: ProblemText | None = None
    needed: Annotated[list[Word], msgspec.Meta(max_length=64)] = []


class Hello(msgspec.Struct, forbid_unknown_fields=True):
    """The worker's first frame, written before it has seen a learner's byte: the layers in force, or why one is not."""

    layers: list[str]
    refused: str = ""


_reply = msgspec.json.Decoder(ReplyText)
_request = msgspec.json.Decoder(RequestText)
_hello = msgspec.json.Decoder(Hello)
_encoder = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> str:
    """Return a message as the text of the one metadata key."""
    return _encoder.encode(message).decode()


def pack_request(request: Request, room: int) -> bytes:
    """Return the frame of a request whose answer may have `room` bytes of tensors."""
    made = {} if request.frames is None else request.frames
    if room not in made:
        made[room] = _request_frame(request, room)
    return made[room]


def _request_frame(request: Request, room: int) -> bytes:
    text = RequestText(
        do=request.do,
        args=frames.to_json(request.args),
        save=request.save,
        live=request.live,
        room=room,
        earlier=request.earlier,
    )
    return pack(request.tensors, {frames.META_KEY: encode(text)})


def read_request(meta: str) -> RequestText:
    """Decode a request in the worker."""
    request = _request.decode(meta)
    request.args = frames.from_json(request.args)
    return request


def read_hello(blob: bytes) -> tuple[str, ...]:
    """Return the layers a worker says are in force; SandboxError with its reason if it could not enter one."""
    hello = _hello.decode(frames.parse(blob).meta)
    if hello.refused:
        raise SandboxError(f"a worker could not confine itself: {hello.refused}")
    return tuple(hello.layers)


def read_reply(blob: bytes) -> Reply:
    """Check and decode a worker's frame; FrameError for anything an honest worker never sends."""
    meta, arrays = frames.read(blob)
    try:
        text = _reply.decode(meta)
    except (ValueError, RecursionError) as error:
        raise frames.FrameError(f"the reply is malformed ({type(error).__name__})") from None
    tensors, echo = {}, {}
    for name, array in arrays.items():
        if name.startswith(OUTPUT):
            tensors[name.removeprefix(OUTPUT)] = array
        elif name.startswith(ECHO):
            echo[name.removeprefix(ECHO)] = array
        else:
            raise frames.FrameError("a tensor of the reply is neither an output nor an input")
    return Reply(
        values=frames.from_json(text.values),
        tensors=tensors,
        echo=echo,
        raised=_raised(text.raised),
        problem=_problem(text.problem),
        needed=tuple(escape_characters(name) for name in text.needed),
    )


def _raised(text: RaisedText | None) -> Raised | None:
    if text is None:
        return None
    return Raised(
        types=tuple(escape_characters(name) for name in text.types),
        message=escape_characters(text.message),
        line=text.line,
        text=escape_characters(text.text),
        blocked=text.blocked,
    )


def _problem(text: ProblemText | None) -> Problem | None:
    if text is None:
        return None
    name = None if text.name is None else escape_characters(text.name)
    return Problem(
        kind=escape_characters(text.kind), message=escape_characters(text.message), name=name
    )


@lru_cache(maxsize=8)
def pack_driver(driver: bytes, *, compiled: bool = True) -> bytes:
    """Return the frame of a driver: its code or, where it is not valid Python, its text for the worker to refuse.

    Without `compiled` it is its text in any case: Triton's compiler, unlike its interpreter, reads the source of the
    kernels in a driver.
    """
    if compiled:
        with contextlib.suppress(SyntaxError, ValueError):
            return marshal.dumps(_compiled(driver.decode()))
    return marshal.dumps(driver)


def unpack_driver(frame: bytes) -> CodeType:
    """Return the code of a driver, in the worker; raises SyntaxError or ValueError for one that is not valid Python."""
    made = marshal.loads(frame)
    if isinstance(made, CodeType):
        return made
    text = made.decode()
    # for `inspect.getsource`; a submission of that name has been read already and is left there
    linecache.cache.setdefault(DRIVER, (len(text), None, text.splitlines(keepends=True), DRIVER))
    return _compiled(text)


def _compiled(text: str) -> CodeType:
    return compile(text, DRIVER, "exec", dont_inherit=True)
