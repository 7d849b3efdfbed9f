"""Write `docs/attempt.md`: a whole attempt at a challenge, every line of it printed by the real program.

`python docs/attempt.py` runs start, grade, hint, trace, watch and the fixes in a temporary work folder, on its own
terminal. With `--check` nothing is written: the status is 1 when the page differs in more than times.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "attempt.md"
PROGRAM = str(ROOT / ".venv" / "bin" / "kvdojo")
CHALLENGE = "multi_head_attention"
FILE = "kv_attention.py"
COLUMNS, ROWS = 100, 26
SECONDS = 120.0
TIMES = re.compile(r"\b\d+:\d\d\b|\d+\.\d\d s\b|\d+ minutes?\b|\d+ random scenarios?\b")

SPLIT = (
    "        return x.view(B, self.num_heads, S, self.head_dim)  # [B, H, S, D]\n",
    "        x = x.view(B, S, self.num_heads, self.head_dim)  # [B, S, H, D]\n"
    "        return x.transpose(1, 2)  # [B, H, S, D]\n",
)
SCALE = ("        self.scale = self.head_dim\n", "        self.scale = math.sqrt(self.head_dim)\n")
AXIS = ("        return torch.cat(pieces, dim=2)", "        return torch.cat(pieces, dim=1)")
OFFSET = ("        offset = cache_len + 1 if cache_len else 0\n", "        offset = cache_len\n")
OWNER = ("        if cache is not None:\n            cache.update(new_cache)\n", "")
LIMIT = ("if total_len >= self.max_cache_len:", "if total_len > self.max_cache_len:")


class Terminal:
    """A program on a terminal, and the text a person sees."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.screen = pyte.HistoryScreen(COLUMNS, ROWS, history=2000)
        self._stream = pyte.ByteStream(self.screen)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execve(PROGRAM, [PROGRAM, *words], environment)

    def press(self, key: str) -> None:
        """Press one key."""
        os.write(self._fd, key.encode())

    def see(self, *wanted: str) -> str:
        """Wait until the screen shows all of `wanted`, and return the screen."""
        deadline = time.monotonic() + SECONDS
        while not all(part in self._shown() for part in wanted):
            self._take(0.5)
            if time.monotonic() > deadline:
                raise SystemExit(f"{wanted} never came:\n{self._shown()}")
        # the rest of the same frame
        while self._take(0.5):
            pass
        return self._shown()

    def finish(self) -> str:
        """Wait for the end and return all that was printed."""
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            self._take(0.1)
        while self._take(0.0):
            pass
        os.close(self._fd)
        above = ["".join(row[x].data for x in range(COLUMNS)) for row in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).strip()

    def _shown(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).strip("\n")

    def _take(self, seconds: float) -> bool:
        """Read what comes within some seconds; False when nothing did."""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        try:
            data = os.read(self._fd, 65536) if ready else b""
        except OSError:  # the program has ended
            data = b""
        self._stream.feed(data)
        return bool(data)


class Attempt:
    """The work folder, the file in it, and the page as it grows."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / CHALLENGE / FILE
        self._environment = {
            "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}",  # so that it is called by its bare name
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "OMP_NUM_THREADS": "1",
            "KVDOJO_WORK": str(folder),
        }
        self._folder = folder
        self.parts: list[str] = []

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self.parts.append(" ".join(text.split()) if not text.startswith("#") else text)

    def run(self, *words: str, typed: str | None = None) -> str:
        """Run a command and show what it printed; `typed` is what is typed at its prompt."""
        program = self.start(*words)
        if typed is not None:
            program.see("Enter passes over it")
            program.press(typed + "\r")
        printed = program.finish()
        self.show(f"$ kvdojo {shlex.join(words)}\n{printed}", "console")
        return printed

    def start(self, *words: str) -> Terminal:
        """Start a command on a terminal."""
        return Terminal(list(words), self._environment)

    def show(self, text: str, language: str = "text") -> None:
        """Add a block, with the temporary folder named as a learner's would be."""
        text = text.replace(str(self._folder), "work")
        lines = [line.rstrip() for line in text.split("\n")]
        self.parts.append("\n".join([f"```{language}", *lines, "```"]))

    def mend(self, *edits: tuple[str, str]) -> None:
        """Edit the file and show the change."""
        text = self.file.read_text("utf-8")
        lines = []
        for old, new in edits:
            if text.count(old) != 1:
                raise SystemExit(f"the starter has changed: {old!r}")
            text = text.replace(old, new)
            lines += [f"-{line}" for line in old.splitlines()]
            lines += [f"+{line}" for line in new.splitlines()]
        self.show("\n".join(lines), "diff")
        self.file.write_text(text, "utf-8")


def record() -> str:
    """Make the attempt and return the page."""
    with tempfile.TemporaryDirectory() as folder:
        attempt = Attempt(Path(folder))
        _begin(attempt)
        _watch(attempt)
        attempt.say("## The last word")
        attempt.run("grade", CHALLENGE)
        attempt.run("explain", CHALLENGE, "overwritten")
        attempt.run("log", CHALLENGE)
    return "\n\n".join(attempt.parts) + "\n"


def _begin(attempt: Attempt) -> None:
    attempt.say("# An attempt, from start to pass")
    attempt.say(
        "Recorded with `python docs/attempt.py`: every block is what the program printed, on a terminal of "
        f"{COLUMNS} columns; only times, and how many random scenarios there is time for, differ."
    )
    attempt.say("## A symptom")
    attempt.run("start", CHALLENGE)
    attempt.run("grade", CHALLENGE)
    attempt.say(
        "One symptom of six bugs: a single head, no cache, and the first token is right. A token that attends to "
        "itself alone has the weight 1 whatever its score; from the second on scores matter. So are the weights too "
        "flat, too sharp, or is it the mask? Only numbers can tell."
    )
    attempt.say("## One thing more")
    attempt.run("more", CHALLENGE)
    attempt.say(
        "The scores, before any mask. -0.622725 / -1.52536 is 0.408, and 6 features a head: 1 / sqrt(6) = 0.408. "
        "They were divided by sqrt(6) once too often."
    )
    attempt.say("So which line makes the scale? `suspect` keeps the guess, to be judged later.")
    attempt.run("suspect", CHALLENGE, "45", "divided by the size, not by its root")
    attempt.mend(SCALE)
    attempt.run("grade", CHALLENGE, typed="2")
    attempt.say("## The next symptom")
    attempt.say(
        "The first bug is named now that it is gone, and the focus has moved on. What does the run look like here?"
    )
    attempt.run("trace", CHALLENGE)
    attempt.mend(AXIS)


def _watch(attempt: Attempt) -> None:
    attempt.say("## Watch")
    attempt.say("From here on `kvdojo watch` stays open beside the editor.")
    screen = attempt.start("watch", CHALLENGE)
    attempt.show(f"$ kvdojo watch {CHALLENGE}\n{screen.see('graded 1 time')}")
    attempt.say("Heads are cut out of the features of one token, and only then are axes moved.")
    attempt.mend(SPLIT)
    attempt.show(screen.see("graded 2 times"))
    attempt.say("Why did nobody see that before? `w` asks, and a number answers; or one goes on.")
    screen.press("w")
    attempt.show(screen.see("a number answers"))
    screen.press("w")
    attempt.say("Is seven too many, or the seventh too early? Pressing `m` for one thing more:")
    screen.press("m")
    attempt.show(screen.see("rung 1 of 6"))
    attempt.say("The check itself: a cache that is exactly full is still allowed.")
    attempt.mend(LIMIT)
    attempt.show(screen.see("graded 3 times"))
    attempt.say("A call may not change the cache it was handed.")
    attempt.mend(OWNER)
    attempt.show(screen.see("graded 4 times"))
    attempt.say(
        "What is left is the mask, whose diagonal starts one too far once there is a cache."
    )
    attempt.mend(OFFSET)
    attempt.show(screen.see("All cases pass."))
    attempt.say("`q` leaves the screen, and the exit status is that of the last verdict.")
    screen.press("q")
    screen.finish()


def main() -> int:
    """Write the page, or compare it."""
    page = record()
    if "--check" in sys.argv[1:]:
        same = TIMES.sub("", page) == TIMES.sub("", PAGE.read_text("utf-8"))
        sys.stdout.write("the page is up to date\n" if same else "the page is out of date\n")
        return 0 if same else 1
    PAGE.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
