"""Where this checkout lies: kvdojo is run from one, with `challenges/` and `reference/` beside this package.

The grader finds content here, and the sandbox what it must keep from a submission: a confined worker can open none of
it.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
