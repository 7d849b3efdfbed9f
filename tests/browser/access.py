"""Where Chromium is, and what is asked of every page that is shown in it."""

from __future__ import annotations

import shutil
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FAULTS = Path(__file__).with_name("access.js").read_text("utf-8")

AXE = Path(__file__).with_name("axe-core") / "axe.min.js"  # a second opinion
