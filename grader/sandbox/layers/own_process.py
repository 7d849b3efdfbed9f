"""The layer `process`, entered in the worker: a process and a session of its own, which ends with the fork server."""

from __future__ import annotations

import os
import signal

from grader.sandbox.layers.layer import Budget, Layer, prctl

SET_PDEATHSIG = 1


class OwnProcess(Layer):
    """Separates a submission from the grader by a process; the grader can always kill it."""

    name = "process"
    summary = "a process of its own, with a session of its own and no inherited descriptors"
    always = True

    def enter(self, budget: Budget) -> str:
        """Die with the parent, leave the terminal's session, and stand in the worker's own folder."""
        prctl(SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        os.chdir(budget.folder or "/")
        return self.name
