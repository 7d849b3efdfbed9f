"""Regrade a file whenever it is saved: saves and keys come in as events, one screen goes out.

Knows how to drive a grading, not how one is made; the sandbox stays warm between saves.
"""

from grader.watch.loop import watch
from grader.watch.setting import Setting

__all__ = ["Setting", "watch"]
