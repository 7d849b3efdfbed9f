"""Errors that are raised on purpose: each class knows the exit code of `kvdojo`, each text is for the user.

The text is one line that ends with what to do next, or one line per fault.  Scripts rely on the numbers of `Exit`.

    KvdojoError                           4  the grader itself failed
      GraderError, SandboxError           4
      UserError and others of `USAGE`     2  the command line, or a path, name or file on it, is wrong
      ContentError                        3  a challenge, case or bug file is invalid
        UnknownName                       2  a name on the command line that is in no content

Any other exception that reaches the command line is a bug of kvdojo's and is shown with its traceback.  So exceptions
that a room raises and catches for itself (`WorkerFailure`, `FrameError`, `SubmissionRefused`) stand outside this tree.
"""

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """What the exit status of `kvdojo` means."""

    PASSED = 0  # every case passed, or the command did what was asked
    FAILED = 1  # graded, and something failed
    USAGE = 2  # the command line, or a path or name on it, is wrong
    CONTENT = 3  # a challenge, case or bug file is invalid
    INTERNAL = 4  # the grader itself failed; says nothing about the submission
    INTERRUPTED = 130  # Ctrl-C

    @classmethod
    def of_verdict(cls, verdict: str) -> "Exit":
        """Return the exit code of a verdict: passed, failed or error."""
        return {"passed": cls.PASSED, "failed": cls.FAILED, "error": cls.INTERNAL}[verdict]


_KINDS = {Exit.USAGE: "usage", Exit.CONTENT: "content", Exit.INTERNAL: "grader"}


class KvdojoError(Exception):
    """The root of all errors that are raised on purpose; a subclass sets `exit_code`."""

    exit_code: ClassVar[Exit] = Exit.INTERNAL

    @property
    def kind(self) -> str:
        """The kind of error in a document `kvdojo/error/v1`."""
        return _KINDS[self.exit_code]


class GraderError(KvdojoError):
    """Something of ours failed; the submission could not be judged."""


class UserError(KvdojoError):
    """A mistake the user can mend, told in one line that ends with what to do next."""

    exit_code = Exit.USAGE
