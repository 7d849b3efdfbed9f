"""The studio in a real browser: `python -m benchmarks.studio [CHALLENGE] [SAVES]`; it takes playwright and Chromium.

- from a click on a challenge to its editor with text in it, beside the brief;
- from a save (Ctrl-S in the page) to its verdict on the page, apart for files that pass, which are asked secret inputs
  and random scenarios too, and files that fail; before each passes `--think`, 2 s unless told otherwise, in which the
  answers to these are made;
- what has grown over all saves: memory of the server and of the sandbox, processes, descriptors, memory of the page.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.options import add_challenge, add_think, many, parser
from grader.content import Challenge, load_challenge

PROGRAM = [sys.executable, "-m", "grader", "studio", "--no-open", "--port", "0"]
WARM = 5  # saves before anything is counted
PATIENCE = 180_000  # ms
OPENED = """() => { const view = document.querySelector('#mirror')?.shadowRoot?.querySelector('.cm-content');
  return view && view.innerText.length > 100 && document.querySelector('.brief').innerText.length > 100; }"""
JUDGED = """count => { const state = document.querySelector('#state');
  return state.innerText.includes(`graded ${count} times`) && !state.querySelector('.verdict.stale'); }"""


@dataclass(frozen=True)
class Held:
    """What is held: MB of the server and of what it started, processes, descriptors, MB of the page."""

    server: float
    sandbox: float
    processes: int
    descriptors: int
    page: float

    def __str__(self) -> str:
        return (
            f"server {self.server:.0f} MB, sandbox {self.sandbox:.0f} MB, {self.processes} processes, "
            f"{self.descriptors} descriptors, page {self.page:.0f} MB"
        )


def main() -> int:
    """Print the times and what was held at the beginning and at the end."""
    options = parser(__doc__)
    add_challenge(options)
    options.add_argument("saves", nargs="?", type=many, default=40, metavar="SAVES")
    add_think(options)
    given = options.parse_args()
    challenge = load_challenge(given.challenge)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"KVDOJO_WORK": folder, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            PROGRAM, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                measure(challenge, given, process, process.stdout.readline().strip())
            finally:
                process.terminate()
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def measure(
    challenge: Challenge, given: Namespace, process: subprocess.Popen[str], link: str
) -> None:
    """Open the challenge in a browser and save so often, a file that fails and one that passes in turn."""
    from playwright.sync_api import sync_playwright

    texts = [challenge.starter.read_text("utf-8"), challenge.reference_text]
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE)
        page.goto(link)
        began = time.perf_counter()
        page.get_by_role("button", name=f"Start {challenge.title}").click()
        page.wait_for_function(OPENED)
        opening = time.perf_counter() - began
        page.get_by_text("graded 1 time,").wait_for()
        page.goto(link.partition("?")[0])
        began = time.perf_counter()
        page.get_by_role("link", name=f"Go on with {challenge.title}").click()
        page.wait_for_function(OPENED)
        again = time.perf_counter() - began
        print(
            f"{challenge.id}: click to editor {opening:.2f} s, {again:.2f} s when the attempt is open"
        )
        for number in range(WARM):
            save(page, f"{texts[number % 2]}\n# warm {number}\n", number + 2, given.think)
        before = held(process, page)
        times = [
            save(page, f"{texts[n % 2]}\n# save {n}\n", n + WARM + 2, given.think)
            for n in range(given.saves)
        ]
        after = held(process, page)
        browser.close()
    for kind, some in (("fails", times[::2]), ("passes", times[1::2])):
        told(challenge, kind, some)
    print(f"before {given.saves} saves: {before}\nafter them:       {after}")


def save(page: Any, text: str, count: int, think: float) -> float:
    """Put a text into the editor, save it, and return the seconds until its verdict is on the page."""
    time.sleep(think)
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    began = time.perf_counter()
    page.keyboard.press("Control+s")
    page.wait_for_function(JUDGED, arg=count)
    return time.perf_counter() - began


def told(challenge: Challenge, kind: str, times: Sequence[float]) -> None:
    """Print the median of some saves."""
    if times:
        middle, least, most = statistics.median(times), min(times), max(times)
        print(
            f"{challenge.id}, {len(times)} saves of a file that {kind}, to the verdict on the page: "
            f"median {middle:.3f} s, fastest {least:.3f}, slowest {most:.3f}"
        )


def held(process: subprocess.Popen[str], page: Any) -> Held:
    """Return what the studio holds now, workers that are about to end left to end."""
    import psutil

    time.sleep(4)
    server = psutil.Process(process.pid)
    children = server.children(recursive=True)
    sandbox = sum(child.memory_info().rss for child in children)
    heap = page.evaluate("performance.memory ? performance.memory.usedJSHeapSize : 0")
    return Held(
        server.memory_info().rss / 1e6,
        sandbox / 1e6,
        1 + len(children),
        server.num_fds() + sum(child.num_fds() for child in children),
        heap / 1e6,
    )


def chromium() -> str | None:
    """Return where Chromium is, None for the one of playwright itself."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for name in ("chromium", "chromium-browser"):
            if os.access(path := Path(folder) / name, os.X_OK):
                return str(path)
    return None


if __name__ == "__main__":
    sys.exit(main())
