"""How the running program is called, so that a message names a command the reader can type.

A learner who typed `.venv/bin/kvdojo grade X` has no `kvdojo` on the PATH, and a hint to run
`kvdojo hint X` would end in "command not found".
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

SCRIPT = "kvdojo"


def command_line(*words: str) -> str:
    """Return the command line that runs `kvdojo` with these words, e.g. `.venv/bin/kvdojo list`.

    The words are joined as they are: quote what a shell would take apart.
    """
    return " ".join([program(), *words])


def program() -> str:
    """Return how to call the program from the current folder, quoted for a shell.

    It is what was typed, where that can be known: `.venv/bin/kvdojo`, `kvdojo` when the shell found it
    on the PATH, or `python -m grader`. In another program (pytest, a benchmark) it is the script that
    is installed beside the interpreter.
    """
    called = sys.argv[0]
    if Path(called).stem == SCRIPT:
        # a shell passes on the whole path of a script that it found on the PATH
        return SCRIPT if _on_path(Path(called)) else _quoted(called)
    if Path(called).parts[-2:] == ("grader", "__main__.py"):
        return f"{_quoted(sys.orig_argv[0])} -m grader"
    beside = Path(sys.executable).parent / f"{SCRIPT}{Path(sys.executable).suffix}"
    if _on_path(beside) or not beside.exists():
        return SCRIPT
    return _quoted(str(_from_here(beside)))


def _on_path(script: Path) -> bool:
    found = shutil.which(SCRIPT)
    return script.is_absolute() and found is not None and _same(Path(found), script)


def _from_here(path: Path) -> Path:
    """Shorten a path below the current folder, unless its bare name would be left."""
    try:
        inner = path.relative_to(Path.cwd())
    except (OSError, ValueError):  # the current folder is gone, or the path leads elsewhere
        return path
    return inner if len(inner.parts) > 1 else path


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _quoted(word: str) -> str:
    if os.name == "nt":  # its shells do not know single quotes
        return f'"{word}"' if " " in word else word
    return shlex.quote(word)
