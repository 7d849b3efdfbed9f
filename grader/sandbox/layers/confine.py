"""Irreversible confinement of the calling process, before it sees the first byte of a submission.

The order matters: limits and no_new_privs, then Landlock, then seccomp, which forbids the rest.
"""

from __future__ import annotations

import ctypes
import resource
from dataclasses import dataclass

from grader.sandbox.layers import landlock

SET_PDEATHSIG, SET_DUMPABLE, GET_SECCOMP, SET_SECCOMP = 1, 4, 21, 22
CAPBSET_DROP, SET_NO_NEW_PRIVS, CAP_AMBIENT = 24, 38, 47
FILTER_MODE, AMBIENT_CLEAR_ALL = 2, 4
CAPABILITY_V3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@dataclass(frozen=True)
class Policy:
    """What a worker puts on itself; None leaves that layer out."""

    memory_bytes: int
    cpu_seconds: int
    ruleset: int | None
    landlock_abi: int
    bpf: bytes | None
    closed_book: bool


def prctl(option: int, *arguments: int) -> int:
    """Call prctl; raise OSError when the kernel refuses."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return landlock.checked(_libc.prctl(option, *padded), f"prctl {option}")


def has_seccomp() -> bool:
    """Whether the kernel knows seccomp filters."""
    return bool(_libc.prctl(GET_SECCOMP, 0, 0, 0, 0) >= 0)


def drop_capabilities() -> None:
    """Give up every capability, now and for all descendants, keeping the user id."""
    for capability in range(64):
        if _libc.prctl(CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # beyond the last one, or not privileged and nothing to give up
    _libc.prctl(CAP_AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_V3, 0)
    landlock.checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def apply(policy: Policy) -> list[str]:
    """Confine this process and return the names of the layers now in force."""
    layers = ["process", "rlimits"]
    _limit(policy)
    if policy.bpf is None:
        return layers
    prctl(SET_NO_NEW_PRIVS, 1)
    layers.append("no_new_privs")
    if policy.ruleset is not None:
        landlock.enter(policy.ruleset)
        layers.append(f"landlock-abi{policy.landlock_abi}")
    prctl(SET_DUMPABLE, 0)
    _filter(policy.bpf)
    layers.append("seccomp-closed-book" if policy.closed_book else "seccomp")
    return layers


def _filter(bpf: bytes) -> None:
    buffer = ctypes.create_string_buffer(bpf, len(bpf))
    program = _Program(len(bpf) // 8, ctypes.addressof(buffer))
    prctl(SET_SECCOMP, FILTER_MODE, ctypes.addressof(program))


def _limit(policy: Policy) -> None:
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_CPU, policy.cpu_seconds, policy.cpu_seconds + 1)
    if policy.memory_bytes:
        _cap(resource.RLIMIT_AS, policy.memory_bytes)
    if policy.bpf is not None:
        _cap(resource.RLIMIT_FSIZE, 0)
        _cap(resource.RLIMIT_NOFILE, 64)
        _cap(resource.RLIMIT_MEMLOCK, 0)


def _cap(kind: int, soft: int, hard: int | None = None) -> None:
    ceiling = resource.getrlimit(kind)[1]
    wanted = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        wanted = min(wanted, ceiling)
    resource.setrlimit(kind, (min(soft, wanted), wanted))
