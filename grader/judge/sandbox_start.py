"""Start the sandbox that a challenge needs: its packages, its environment, and modules that some files need besides.

Such a module must be imported before a worker is confined.  Of a submission no more is known here than whether its
text mentions one of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grader.content import Challenge
from grader.sandbox import Sandbox
from grader.sandbox.environment import DEVICE
from grader.sandbox.spawn import FORKS

# modules that take a second to import: better once, and before a worker is confined; too slow to import always
MODULE_BY_MENTION = {
    rb"nn\.attention|nn\s+import[^\n]*\battention\b": "torch.nn.attention.bias",
    rb"use_deterministic_algorithms|torch\._(dynamo|inductor)|torch\.compiler": "torch._inductor.config",
    # any optimiser imports it where it is made
    rb"torch\.optim\b|torch\s+import[^\n]*\boptim\b": "torch._dynamo",
}


def modules_to_preload(source: bytes | None) -> tuple[str, ...]:
    """Return the modules that a submission needs imported before its worker is confined.

    Without a `source` it is all of them: such a sandbox can run any file.
    """
    return tuple(
        module
        for mention, module in MODULE_BY_MENTION.items()
        if source is None or re.search(mention, source)
    )


def start_sandbox(
    challenge: Challenge,
    *,
    isolate: bool = True,
    source: bytes | None = None,
    modules: Sequence[str] | None = None,
) -> Sandbox:
    """Start a sandbox for a challenge's submissions; without `isolate` they run unconfined, as the user asked.

    It is for `source` alone or, without one, for any file.  A caller that has already asked `modules_to_preload` gives
    its answer as `modules` instead.
    """
    asked = modules_to_preload(source) if modules is None else modules
    # a driver of a GPU starts threads, and what it has begun cannot be used after a fork
    forks = FORKS and challenge.environment.get(DEVICE, "cpu") == "cpu"
    return Sandbox.start(
        isolate=isolate,
        preload=[*challenge.preload, *asked],
        env=dict(challenge.environment),
        forks=forks,
    )
