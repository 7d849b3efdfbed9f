"""The layer `no_new_privs`: the fork server gives up every capability, and a worker can never get one back."""

from __future__ import annotations

import ctypes

from grader.sandbox.layers.layer import Budget, Layer, checked, libc, prctl

SET_DUMPABLE, CAPBSET_DROP, SET_NO_NEW_PRIVS, CAP_AMBIENT = 4, 24, 38, 47
AMBIENT_CLEAR_ALL = 4
CAPABILITY_V3 = 0x20080522


class NoNewPrivileges(Layer):
    """Makes root's worker as weak as anybody's; Landlock and seccomp need it."""

    name = "no_new_privs"
    summary = "no capabilities, none to be had from a program, no other process that looks into its memory"

    def prepare(self, part: bytes) -> None:
        """Give up every capability, now and for all descendants, keeping the user id."""
        for capability in range(64):
            if libc().prctl(CAPBSET_DROP, capability, 0, 0, 0) < 0:
                break  # beyond the last one, or not privileged and nothing to give up
        libc().prctl(CAP_AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0)
        header = (ctypes.c_uint32 * 2)(CAPABILITY_V3, 0)
        checked(libc().capset(header, (ctypes.c_uint32 * 6)()), "capset")

    def enter(self, budget: Budget) -> str:
        """Rule out privileges from programs that are run, and make this process not dumpable."""
        prctl(SET_NO_NEW_PRIVS, 1)
        prctl(SET_DUMPABLE, 0)
        return self.name
