"""The layers of isolation: one file for each, one entry for each in `LAYERS`, and the self-test that tries them all.

The list is in the order in which a worker enters the layers; each may take away what an earlier one needed. The
policy (`sandbox.Sandbox`), the self-test, the names in results and the table in docs/security.md follow from it: a
new layer is a file here and an entry there.
"""

from __future__ import annotations

from grader.sandbox.layers.landlock import Landlock
from grader.sandbox.layers.layer import Layer
from grader.sandbox.layers.no_new_privs import NoNewPrivileges
from grader.sandbox.layers.own_process import OwnProcess
from grader.sandbox.layers.rlimits import ResourceLimits
from grader.sandbox.layers.seccomp import Seccomp

LAYERS: tuple[Layer, ...] = (
    OwnProcess(),
    ResourceLimits(),
    NoNewPrivileges(),
    Landlock(),
    Seccomp(),
)


def isolating_names() -> frozenset[str]:
    """Return the names of which a result lists one if its submission was isolated."""
    return frozenset(name for layer in LAYERS if layer.isolates for name in layer.shown_as)


def markdown_table() -> str:
    """Return the layers as the table of docs/security.md."""
    rows = [
        "| layer, as results name it | what it leaves a submission | isolates |",
        "|---|---|---|",
    ]
    for layer in LAYERS:
        names = " or ".join(f"`{name}`" for name in layer.shown_as)
        rows.append(f"| {names} | {layer.summary} | {'yes' if layer.isolates else ''} |")
    return "\n".join(rows) + "\n"
