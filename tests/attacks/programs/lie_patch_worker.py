"""2a-13: Patches the worker's own code: every answer is replaced."""

import sys

for name, module in list(sys.modules.items()):
    if name.startswith("grader.sandbox"):
        for attribute in ("to_json", "encode", "raised", "problem", "check", "framed"):
            if hasattr(module, attribute):
                setattr(module, attribute, lambda *a, **k: "{}")
