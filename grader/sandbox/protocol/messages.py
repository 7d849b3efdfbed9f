"""What grader and worker tell each other: limits, requests, replies, and the two ways in which the sandbox can fail.

These classes hold plain values and arrays. `codec` writes them into frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from grader.ground.arrays import Array
from grader.ground.errors import KvdojoError

OUT_OF_MEMORY = 77  # exit code of a worker that had no memory left to say so
BY_SIGNAL = 128  # and the signal's number: exit code of a worker whose child was ended by a signal


@dataclass(frozen=True)
class Limits:
    """What one worker may use.

    - `seconds`: how long its answers are waited for, over all requests of a session;
    - `memory_mb`: MiB of memory that a submission may add to what its interpreter holds with torch imported; 0 sets
      no limit (a GPU driver reserves a huge address range);
    - `cpu`: seconds of CPU time after which the kernel ends it; None stands for a second more than `seconds`.
    """

    seconds: float = 5.0
    memory_mb: int = 1536
    cpu: float | None = None

    @property
    def cpu_seconds(self) -> int:
        """CPU time after which the kernel itself ends the worker."""
        return math.ceil(self.seconds) + 1 if self.cpu is None else max(1, math.ceil(self.cpu))


@dataclass(frozen=True)
class Earlier:
    """An input that the worker has already: a tensor of its answer to the request with this `save`.

    `bounds` cut it, (start, stop) for each axis; floating-point numbers are converted to `dtype`, whatever they were
    answered in. `Earlier("prefill", "cache/key", "float32", ((None, None), (0, 3)))` is the key cache answered to the
    request with `save="prefill"`, of every row the first three positions.
    """

    save: str
    name: str
    dtype: str
    bounds: tuple[tuple[int | None, int | None], ...] = ()


@dataclass(frozen=True)
class Request:
    """One call of a driver's verb; the names of arguments with slashes become nested dictionaries in the worker.

    - `do`, `args`, `tensors`: the verb and its arguments;
    - `save`: keep what the call returns under this name, for `live` and `earlier` of later requests;
    - `live`: pass the object kept under this name as the argument `live`, as it is now;
    - `earlier`: arguments that the worker has from its own answers since it was loaded or reloaded;
    - `frames`: the request as bytes, by the room for its answer, where it is sent more than once.
    """

    do: str
    args: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Array] = field(default_factory=dict)
    save: str | None = None
    live: str | None = None
    earlier: dict[str, Earlier] = field(default_factory=dict)
    frames: dict[int, bytes] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(item.values.nbytes for item in self.tensors.values())


@dataclass(frozen=True)
class Raised:
    """An exception that the submission raised.

    `types` are its class and its base classes by name, all but the builtin ones with their module. `line` and
    `text` are the last line of the submission that it went through. `blocked` says that the sandbox had refused
    something.
    """

    types: tuple[str, ...]
    message: str
    line: int | None = None
    text: str = ""
    blocked: bool = False


@dataclass(frozen=True)
class Problem:
    """An answer of the wrong structure, found by the driver or by the worker; `kind` is that of a cause in a result."""

    kind: str
    message: str
    name: str | None = None


@dataclass(frozen=True)
class Reply:
    """What came back: scalars, tensors, `echo` for the inputs that the call changed, or a fault.

    `needed` names what the driver looked for in the submission.
    """

    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Array] = field(default_factory=dict)
    echo: dict[str, Array] = field(default_factory=dict)
    raised: Raised | None = None
    problem: Problem | None = None
    needed: tuple[str, ...] = ()


class WorkerFailure(Exception):
    """The submission's process gave no answer; `kind` says why.

    Kinds: timeout, memory, crashed, blocked (a forbidden system call ended it), protocol (what it wrote is no
    answer), and killed, by somebody outside of the sandbox.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class SandboxError(KvdojoError):
    """The sandbox itself does not work; never the submission's fault."""
