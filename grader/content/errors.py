"""What can be wrong with content, said in lines an author can act on."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from grader.ground.errors import Exit, KvdojoError
from grader.ground.invocation import command_line


class ContentError(KvdojoError):
    """A challenge, case or bug file that cannot be used; the text is one line per fault."""

    exit_code = Exit.CONTENT


class UnknownName(ContentError):
    """A challenge, case or bug id that does not exist; `suggestion` is the closest one that does."""

    exit_code = Exit.USAGE

    def __init__(self, kind: str, name: str, known: Iterable[str], command: str = "") -> None:
        close = get_close_matches(name, list(known), n=1, cutoff=0.5)
        self.suggestion = close[0] if close else None
        hint = (
            f" Did you mean {self.suggestion!r}?" if self.suggestion else command and f" {command}"
        )
        super().__init__(f"No {kind} named {name!r}.{hint}")


class UnknownChallenge(UnknownName):
    """A challenge id that does not exist."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__("challenge", name, known, f"`{command_line('list')}` shows them all.")
