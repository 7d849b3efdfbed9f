"""What an isolation layer is: the base class of those in this folder, and the libc calls that several of them make.

Three processes use a layer, in this order:

    fork server   available()       asks the kernel what it offers
    grader        build(available)  makes what the fork server cannot make itself, say a compiled filter
    fork server   prepare(part)     gets ready, once, while this process may still open files
    fork server   admit(folder)     gets ready for one worker, before it is forked
    worker        enter(budget)     confines the worker for good, before the first byte of a submission
    worker        attempts(places)  lists, for the self-test, what must be denied from then on

The fork server's copy of the object is inherited by every worker: what `prepare` stores on `self`, `enter` finds
there.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

Attempt = tuple[str, Callable[[], object]]


@dataclass
class Folder:
    """A worker's own folder; `mark` stands for the same folder under whatever name."""

    path: str
    mark: int


@dataclass(frozen=True)
class Budget:
    """What one worker may use.

    `memory_bytes` is what it may add to the memory that its interpreter holds already; 0 sets no limit. `isolated`
    says whether the worker is to be safe for other people's files, or only runs its owner's. `folder` is its own, for
    temporary files; empty where there is none. `supervisor` is a socket to the process that answers some of its calls,
    -1 without one.
    """

    memory_bytes: int
    cpu_seconds: int
    isolated: bool
    folder: str = ""
    supervisor: int = -1


@dataclass(frozen=True)
class Places:
    """What the self-test reaches for: files to read, folders to list, a file to write and a folder to make."""

    files: list[str]
    folders: list[str]
    target: str
    folder: str


class Layer:
    """One way in which a worker confines itself.

    A new layer is a subclass in a file of its own and an entry of `LAYERS`; the policy, the self-test, the names in
    the result and the table in docs/security.md follow from these attributes:

    - `name`: how the result and the `without` of tests call it;
    - `summary`: what it takes away, one line for the documentation;
    - `isolates`: without it nothing is isolated, and a result that names it was graded in isolation;
    - `always`: it is also in force where isolation was not asked for;
    - `missing`: what the user is told where the kernel does not offer it;
    - `descriptors`: the open descriptors that `prepare` made for `enter`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    isolates: ClassVar[bool] = False
    always: ClassVar[bool] = False
    missing: ClassVar[str] = ""
    descriptors: tuple[int, ...] = ()

    @property
    def shown_as(self) -> tuple[str, ...]:
        """The names under which results may list it; documentation writes N for a number that depends on the kernel."""
        return (self.name,)

    def available(self) -> int:
        """In the fork server: return what the kernel offers, 0 for nothing, else a version or 1."""
        return 1

    def build(self, available: Mapping[str, int]) -> bytes:
        """In the grader: return what `prepare` needs, given what the kernel offers of every layer."""
        return b""

    def prepare(self, part: bytes) -> None:
        """In the fork server, once: get ready with what `build` returned.

        Layers are prepared in the opposite order of entering, so that one which gives up rights comes last.
        """

    def admit(self, folder: Folder | None) -> None:
        """In the fork server, before every fork: get ready for a worker that may write into `folder` alone."""

    def forget(self, folder: Folder) -> None:
        """In the fork server: the folder is gone for good."""

    def enter(self, budget: Budget) -> str:
        """In the worker: confine it for good and return the name for the result.

        Whatever it raises ends the worker before it has seen the submission, and is told as an error of the sandbox.
        """
        raise NotImplementedError

    def attempts(self, places: Places) -> Iterator[Attempt]:
        """In the worker, during the self-test: yield what must be denied, as a name and a call that raises if it is.

        Everything is tried whether or not this layer is in force, for another one may have to deny it then.
        """
        yield from ()


@cache
def libc() -> Any:
    """Return the C library of this process, with errno kept."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return a system call's result, or raise OSError naming the call."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """Call prctl; raise OSError when the kernel refuses."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return checked(libc().prctl(option, *padded), f"prctl {option}")
