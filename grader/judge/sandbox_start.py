"""Start the sandbox that a challenge needs: its packages, its environment, and what some files need besides.

Knows of a submission no more than whether its text mentions certain modules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grader.content import Challenge
from grader.sandbox import Sandbox

# modules that take a second to import: better once, and before a worker is confined; too slow to import always
UNCONFINED = {
    rb"nn\.attention|nn\s+import[^\n]*\battention\b": "torch.nn.attention.bias",
    rb"use_deterministic_algorithms|torch\._(dynamo|inductor)|torch\.compiler": "torch._inductor.config",
}


def unconfined(source: bytes | None) -> tuple[str, ...]:
    """Return the modules to import before a worker is confined, for `source` only or, without it, for any file."""
    return tuple(
        module
        for mention, module in UNCONFINED.items()
        if source is None or re.search(mention, source)
    )


def start_sandbox(
    challenge: Challenge,
    *,
    isolate: bool = True,
    source: bytes | None = None,
    modules: Sequence[str] | None = None,
) -> Sandbox:
    """Start a sandbox with what the challenge needs in it, and `modules`, which are those for `source` unless given."""
    asked = unconfined(source) if modules is None else modules
    return Sandbox.start(
        isolate=isolate, preload=[*challenge.preload, *asked], env=dict(challenge.environment)
    )
