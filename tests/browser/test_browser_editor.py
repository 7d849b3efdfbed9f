"""The editor that the studio vendors, in a real Chromium under the studio's policy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from access import CHROMIUM, OPTIONS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
VENDOR = Path(__file__).parents[2] / "grader" / "studio" / "static" / "vendor"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:"
PAGE = """<!doctype html><title>editor</title><link rel="icon" href="data:,"><div id="host"></div>
<script src="codemirror/codemirror.js"></script><script src="start.js"></script>"""
START = """const root = document.getElementById("host").attachShadow({ mode: "open" });
const extensions = [CodeMirror.basicSetup, CodeMirror.python(), CodeMirror.indentUnit.of("    ")];
const state = CodeMirror.EditorState.create({ doc: "def f(x):\\n    return x\\n", extensions });
window.view = new CodeMirror.EditorView({ state, parent: root, root });"""


class _Handler(SimpleHTTPRequestHandler):
    """Serves the vendored files and one page, under the policy."""

    def do_GET(self) -> None:
        made = {"/": (PAGE, "text/html"), "/start.js": (START, "text/javascript")}.get(self.path)
        if made is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", f"{made[1]}; charset=utf-8")
        self.end_headers()
        self.wfile.write(made[0].encode())

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser.new_page()
        browser.close()


def test_editor_works_under_the_policy(page: Any) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(VENDOR)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.locator(".cm-content").click()
        page.keyboard.press("Control+End")
        page.keyboard.type("if f:")
        page.keyboard.press("Enter")
        page.keyboard.type("pass")
        assert page.evaluate("view.state.doc.toString()").endswith("return x\nif f:\n    pass")
        colours = page.evaluate(
            "[...view.dom.querySelectorAll('.cm-line span')].map((e) => getComputedStyle(e).color)"
        )
        assert len(set(colours)) > 1, "the adopted style sheet colours the code"
        assert said == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
