"""2b-15: Opens the golden file and the sources by their known paths."""

import os

for root in ROOTS:
    for path in (
        "challenges/multi_head_attention/recorded/golden.safetensors",
        "reference/kv_attention.py",
    ):
        attempt("read a secret", lambda path=path, root=root: open(os.path.join(root, path), "rb"))
