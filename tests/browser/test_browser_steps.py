"""The step slider in a real Chromium under the studio's policy: by keyboard, on a phone, with hostile text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from access import AXE, CHROMIUM, FAULTS
from made_pages import HOSTILE
from made_traces import not_finite, trace, unmasked

from grader.content import Case
from grader.diagnose.trace_model import Checkpoint, FirstWrongValue, Trace, TracedStep
from grader.studio.step_document import encoded, step_document

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
STATIC = Path(__file__).parents[2] / "grader" / "studio" / "static"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Steps</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css"><link rel="stylesheet" href="/steps.css">
<script src="/steps.js" defer></script><main><h1>Steps</h1><div data-steps="/steps.json"></div></main></html>"""
STYLE = """:root { color-scheme: light dark }
body { margin: 0; padding: 1rem; font: 16px/1.5 sans-serif; background: #fff }
@media (prefers-color-scheme: dark) { body { background: #0d1117; color: #e6edf3 } }"""
CASE = Case(
    *("a-case", "Two steps", "", 1, "scenario", "public", (), {}, 1, "float32"),
    steps=({"do": "forward", "tokens": 4}, {"do": "forward", "tokens": 2, "cache": HOSTILE}),
)


class _Handler(BaseHTTPRequestHandler):
    """Serves one page, what it loads, and `document`."""

    document: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        files = {
            "/": (PAGE.encode(), "text/html"),
            "/page.css": (STYLE.encode(), "text/css"),
            "/steps.css": ((STATIC / "steps.css").read_bytes(), "text/css"),
            "/steps.js": ((STATIC / "steps.js").read_bytes(), "text/javascript"),
            "/steps.json": (self.document, "application/json"),
        }
        body, sort = files[self.path]
        self.send_response(200)
        self.send_header("Content-Type", f"{sort}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Any]:
    """Return what opens the page on a trace; nothing may go wrong in it, and nothing else may be asked for."""
    contexts, troubles, asked = [], [], []

    def open_page(
        found: Trace, level: str = "cause", scheme: str = "light", width: int = 1280
    ) -> Any:
        _Handler.document = encoded(step_document(found, CASE, level))
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector(".steps-title, .steps-told")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def reading(page: Any) -> str:
    return str(page.locator(".steps-read").inner_text())


def test_the_first_difference_is_shown_at_once_and_found_again(opened: Any) -> None:
    page = opened(trace(wrong=unmasked))
    assert "decode, 2 tokens" in page.locator(".steps-title").inner_text()
    first = reading(page)
    assert first.startswith("batch 0, head 0, query 0, key 0: expected 0.0853957, yours 0.07")
    page.get_by_role("slider", name="Step").press("ArrowLeft")
    assert "prefill, 4 tokens" in page.locator(".steps-title").inner_text()
    assert reading(page) != first
    page.get_by_role("button", name="Go to the first difference").click()
    assert reading(page) == first


def test_everything_by_keyboard(opened: Any) -> None:
    page = opened(trace(wrong=unmasked))
    page.get_by_role("slider", name="Step").focus()
    for _ in range(40):
        if page.evaluate("document.activeElement.tagName") == "CANVAS":
            break
        page.keyboard.press("Tab")
    before = reading(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert "query 1, key 4" in reading(page)
    page.keyboard.press("[")
    assert "Step 1" in page.locator(".steps-title").inner_text()
    page.keyboard.press("f")
    assert reading(page) == before
    page.get_by_role("button", name="output: differs").press("Enter")
    assert page.evaluate("document.activeElement.textContent").endswith("output")
    assert "feature" in reading(page)


def test_pointing_at_a_cell_reads_its_index_and_numbers(opened: Any) -> None:
    page = opened(trace(wrong=unmasked))
    found = trace(wrong=unmasked).steps[1].checkpoints[0]
    box = page.locator("figure.yours canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 10, box["y"] + 30)
    want, got = found.expected.values[0, 0, 0, 5], found.actual.values[0, 0, 0, 5]
    assert reading(page) == (
        f"batch 0, head 0, query 0, key 5: expected {want:g}, yours {got:.6g}, difference +{got - want:.3g}"
    )
    page.get_by_label("head").select_option("2")
    page.locator("figure.expected canvas").focus()
    assert "head 2" in reading(page)


def test_a_cell_is_painted_by_its_number(opened: Any) -> None:
    page = opened(trace(wrong=unmasked))
    colour = """side => { const c = document.querySelector(`figure.${side} canvas`), k = c.width / c.clientWidth;
      return [...c.getContext("2d").getImageData((c.clientWidth - 12) * k, 26 * k, 1, 1).data].slice(0, 3); }"""
    assert page.evaluate(colour, "expected") == [255, 255, 255]  # a weight of 0
    red, _, blue = page.evaluate(colour, "gap")
    assert blue > red + 40  # more than it should be


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
@pytest.mark.parametrize("kind", ["wrong", "nan", "right", "hostile"])
def test_it_can_be_read_by_everybody(opened: Any, kind: str, scheme: str, width: int) -> None:
    kinds = {"wrong": trace(wrong=unmasked), "nan": trace(wrong=not_finite), "right": trace()}
    page = opened(kinds.get(kind) or _hostile(), "cause", scheme, width)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAULTS) == []
    if AXE.exists():
        page.evaluate(AXE.read_text("utf-8"))
        assert page.evaluate("axe.run().then(r => r.violations.map(v => v.id))") == []


def _hostile() -> Trace:
    point = Checkpoint(
        *(HOSTILE, HOSTILE, 0, "differs"),
        place=FirstWrongValue((), (), HOSTILE, HOSTILE),
        program=HOSTILE,
        is_output=True,
    )
    other = Checkpoint(HOSTILE, HOSTILE, 1, "extra")
    steps = (TracedStep(0, HOSTILE, HOSTILE, (point, other)),)
    return Trace("x", "a-case", steps, None, HOSTILE)


def test_a_save_keeps_what_was_looked_at(opened: Any) -> None:
    page = opened(trace(wrong=unmasked))
    page.get_by_role("button", name="output: differs").click()
    page.get_by_role("button", name="Previous step").click()
    _Handler.document = encoded(step_document(trace(), CASE, "cause"))
    page.evaluate("kvdojoSteps.load(document.querySelector('[data-steps]'))")
    page.wait_for_selector(".steps-pin", state="detached")
    assert "Step 1" in page.locator(".steps-title").inner_text()
    assert (
        page.get_by_role("button", name="output: the same").get_attribute("aria-pressed") == "true"
    )


def test_what_is_not_told_is_said(opened: Any) -> None:
    page = opened(trace(wrong=unmasked), "verdict")
    assert page.locator(".steps-told").inner_text() == "It failed; more is not told here."
