"""What the tests of the arena draw by."""

from __future__ import annotations

from grader.arena.draw_tasks import DrawOptions

KEY = bytes(range(7, 39))
NAME = "multi_head_attention"
MANY = DrawOptions(3, 3, 0.5)
