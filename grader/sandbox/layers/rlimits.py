"""The layer `rlimits`, entered in the worker: limits on memory, CPU time and files.

The memory limit is on what a submission adds. What the interpreter has mapped before depends on the build of torch: the
CPU build maps about 0.6 GB of address space at import, the CUDA build 3.2 GB without touching a GPU. So the worker
reads its own size before the first byte of a submission, and puts the budget on top of it:

    RLIMIT_AS    all address space, which bounds whatever a hostile file may try
    RLIMIT_DATA  private writable memory: what an allocator had only reserved counts when it is made usable

Where a limit cannot be set, nothing is run: too little memory must not be told as the submission's mistake.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
from collections.abc import Iterator

from grader.sandbox.layers.layer import Attempt, Budget, Layer, Places
from grader.sandbox.protocol.messages import SandboxError

with contextlib.suppress(ImportError):  # not on Windows, where nothing is run
    import resource

STATM = "/proc/self/statm"
OPEN_FILES = 64
FILES, FILE_BYTES = (
    256,
    1 << 20,
)  # that a worker may make, and that each may have; `supervisor` counts them
TOO_MUCH = 1 << 44  # 16 TiB: more than any budget, less than the address space of a process


class ResourceLimits(Layer):
    """Limits what a submission can use up."""

    name = "rlimits"
    summary = "its share of memory and CPU time, 64 open files, no core dump, no file above 1 MiB"
    always = True

    def enter(self, budget: Budget) -> str:
        """Set every limit; SandboxError where a lower one is in force already."""
        _limit(resource.RLIMIT_CORE, "bytes of core dump", 0)
        _limit(resource.RLIMIT_CPU, "seconds of CPU time (ulimit -t)", budget.cpu_seconds, more=1)
        if budget.isolated:
            _limit(resource.RLIMIT_FSIZE, "bytes of a file", _file_bytes(budget))
            _limit(resource.RLIMIT_NOFILE, "open files", OPEN_FILES)
            _limit(resource.RLIMIT_MEMLOCK, "bytes of locked memory", 0)
        if budget.memory_bytes:
            limit_memory(budget.memory_bytes)
        return self.name

    def attempts(self, places: Places) -> Iterator[Attempt]:
        """Map far more memory than any budget; the reservation costs the machine nothing if it succeeds."""
        yield "map 16 TiB of memory", lambda: _reserve(TOO_MUCH)


def _file_bytes(budget: Budget) -> int:
    """Return how large a file may grow; a lower limit of the machine's is kept, and costs a submission its caches."""
    ceiling = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    wanted = FILE_BYTES if budget.folder else 0
    return wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)


def limit_memory(budget: int, *, hard: bool = True) -> None:
    """Let this process add `budget` bytes to the memory it holds now; SandboxError where that cannot be had."""
    size, data = _held()
    for kind, what, held in (
        (resource.RLIMIT_AS, "MiB of address space (ulimit -v)", size),
        (resource.RLIMIT_DATA, "MiB of data (ulimit -d)", data),
    ):
        _limit(kind, what, held + budget, unit=1 << 20, hard=hard)


@contextlib.contextmanager
def memory_limited(budget: int) -> Iterator[None]:
    """Limit memory in a process that runs one file after another, and lift the limit again; 0 sets none.

    What the allocator keeps of an earlier file counts as held, so a later one may use it on top of its own budget.
    """
    if not budget:
        yield
        return
    before = {kind: resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)}
    try:
        limit_memory(budget, hard=False)
        yield
    finally:
        for kind, limits in before.items():
            resource.setrlimit(kind, limits)


def can_limit_memory() -> bool:
    """Whether this system enforces a limit on the memory of a process; macOS does not."""
    return sys.platform.startswith("linux")


def _held() -> tuple[int, int]:
    """Return the address space of this process and its private writable part with the stack, in bytes."""
    try:
        with open(STATM, encoding="ascii") as file:
            pages = file.read().split()
        return int(pages[0]) * mmap.PAGESIZE, int(pages[5]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError) as error:
        raise SandboxError(
            f"no memory limit can be set, since {STATM} cannot be read ({error})"
        ) from error


def _limit(
    kind: int, what: str, wanted: int, *, unit: int = 1, more: int = 0, hard: bool = True
) -> None:
    """Set one limit; with `hard` this process cannot raise it again, nor let it go beyond `wanted + more`."""
    ceiling = resource.getrlimit(kind)[1]
    if ceiling == resource.RLIM_INFINITY:
        most = wanted + more if hard else ceiling
    elif ceiling >= wanted:
        most = min(wanted + more, ceiling) if hard else ceiling
    else:
        raise SandboxError(
            f"only {ceiling // unit} {what} are allowed here, and {-(-wanted // unit)} are needed; raise that limit"
        )
    resource.setrlimit(kind, (wanted, most))


def _reserve(size: int) -> None:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    mmap.mmap(-1, size, flags=flags, prot=mmap.PROT_READ).close()
