"""The errors of content, each in lines that an author can act on."""

from __future__ import annotations

from collections.abc import Iterable

from grader.ground.errors import Exit, KvdojoError
from grader.ground.invocation import command_line
from grader.ground.nearest import nearest_name


class ContentError(KvdojoError):
    """A file of a challenge, or of an author, that cannot be used; the text is one line per fault."""

    exit_code = Exit.CONTENT


class UnknownName(ContentError):
    """An id that does not exist; `kind` says of what, as in "case of 'paged_cache'", and `known` are those that do.

    `suggestion` is the closest of them; where none is close, the sentence `command` says how to see them all.
    It was named on the command line, hence the exit code.
    """

    exit_code = Exit.USAGE

    def __init__(self, kind: str, name: str, known: Iterable[str], command: str = "") -> None:
        self.suggestion = nearest_name(name, known)
        hint = (
            f" Did you mean {self.suggestion!r}?" if self.suggestion else command and f" {command}"
        )
        super().__init__(f"No {kind} named {name!r}.{hint}")


class UnknownChallenge(UnknownName):
    """A challenge id that does not exist."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__("challenge", name, known, f"`{command_line('list')}` shows them all.")
