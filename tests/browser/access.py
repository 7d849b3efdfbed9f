"""Where Chromium is, and what is asked of every page that is shown in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FAULTS = Path(__file__).with_name("access.js").read_text("utf-8")

# a second opinion, where `npm install --prefix build axe-core` was run
_NPM = Path(__file__).parents[2] / "build" / "node_modules" / "axe-core" / "axe.min.js"
AXE = Path(os.environ.get("AXE_CORE") or _NPM)
