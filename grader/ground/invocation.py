"""How the running program is called, so that a message names a command the reader can type.

A learner who typed `.venv/bin/kvdojo grade X` has no `kvdojo` on the PATH, and a hint to run
`kvdojo hint X` would end in "command not found".
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys

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
    # strings and no pathlib: `kvdojo --help` comes by here and should import as little as it can
    called = sys.argv[0]
    folder, name = os.path.split(called)
    if os.path.splitext(name)[0] == SCRIPT:
        # a shell passes on the whole path of a script that it found on the PATH
        return SCRIPT if _on_path(called) else _quoted(called)
    if (os.path.basename(folder), name) == ("grader", "__main__.py"):
        return f"{_quoted(sys.orig_argv[0])} -m grader"
    suffix = os.path.splitext(sys.executable)[1]
    beside = os.path.join(os.path.dirname(sys.executable), f"{SCRIPT}{suffix}")
    if _on_path(beside) or not os.path.exists(beside):
        return SCRIPT
    return _quoted(_from_here(beside))


def _on_path(script: str) -> bool:
    found = shutil.which(SCRIPT)
    return os.path.isabs(script) and found is not None and _same(found, script)


def _from_here(path: str) -> str:
    """Shorten a path below the current folder, unless its bare name would be left."""
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # the current folder is gone
        return path
    inner = path.removeprefix(here)
    return inner if os.path.dirname(inner) else path


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _quoted(word: str) -> str:
    if os.name == "nt":  # its shells do not know single quotes
        return f'"{word}"' if " " in word else word
    return shlex.quote(word)
