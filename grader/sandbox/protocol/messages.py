"""The words the sandbox speaks: limits, requests, replies and the two ways it can fail.

They hold plain values and arrays only; nothing here knows of processes or of verdicts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from grader.ground.arrays import Array
from grader.ground.errors import KvdojoError

MAX_SOURCE = 256 << 10
OUT_OF_MEMORY = 77  # exit code of a worker that could not even say so


@dataclass(frozen=True)
class Limits:
    """What one worker may use: seconds of waiting for its answers, and MiB of address space.

    `cpu` is the CPU time in seconds after which the kernel ends it; a second more than `seconds` if None.
    `memory_mb` 0 sets no memory limit (a GPU driver reserves a huge address range).
    """

    seconds: float = 5.0
    memory_mb: int = 2048
    cpu: float | None = None

    @property
    def cpu_seconds(self) -> int:
        """CPU time after which the kernel itself ends the worker."""
        return math.ceil(self.seconds) + 1 if self.cpu is None else max(1, math.ceil(self.cpu))


@dataclass(frozen=True)
class Earlier:
    """A tensor that was answered to the request with this `save`, cut to `bounds`: (start, stop) by axis.

    Floating-point numbers are sent on in `dtype`, whatever they were answered in.
    """

    save: str
    name: str
    dtype: str
    bounds: tuple[tuple[int | None, int | None], ...] = ()


@dataclass(frozen=True)
class Request:
    """One call of a driver's verb; names with slashes are nested again in the worker.

    `earlier` are inputs that the worker has from its own answers since it was loaded or reloaded.
    `frames` are the request's frames by room, where it is sent more than once.
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
    """An exception the submission let out.

    `types` are the class names of its MRO: builtin classes by bare name, all others with their
    module. `blocked` says that the sandbox refused something.
    """

    types: tuple[str, ...]
    message: str
    line: int | None = None
    text: str = ""
    blocked: bool = False


@dataclass(frozen=True)
class Problem:
    """An answer of the wrong structure, as told by the driver or by the worker."""

    kind: str
    message: str
    name: str | None = None


@dataclass(frozen=True)
class Reply:
    """What came back: scalars, tensors, `echo` for the inputs that the call changed, or a fault."""

    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Array] = field(default_factory=dict)
    echo: dict[str, Array] = field(default_factory=dict)
    raised: Raised | None = None
    problem: Problem | None = None
    needed: tuple[str, ...] = ()  # names the driver asked the submission for


class WorkerFailure(Exception):
    """The submission's process gave no answer; `kind` says why.

    Kinds: timeout, memory, crashed, blocked, protocol, and killed, by somebody outside of the sandbox.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class SandboxError(KvdojoError):
    """The sandbox itself does not work; never the submission's fault."""
