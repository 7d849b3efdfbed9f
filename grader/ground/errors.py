"""Exit codes and the errors a command raises on purpose. Scripts rely on the numbers."""

from enum import IntEnum


class Exit(IntEnum):
    """What the exit status of `kvdojo` means."""

    PASSED = 0  # every case passed, or the command did what was asked
    FAILED = 1  # graded, and something failed
    USAGE = 2  # the command line, or a path or name on it, is wrong
    CONTENT = 3  # a challenge, case or bug file is invalid
    INTERNAL = 4  # the grader itself failed; says nothing about the submission
    INTERRUPTED = 130  # Ctrl-C


class UserError(Exception):
    """A mistake the user can mend, told in one line that ends with what to do next."""
