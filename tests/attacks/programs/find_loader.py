"""2b-18: Uses the loader machinery on the reference's path directly."""

from importlib.machinery import SourceFileLoader

for root in ROOTS:
    path = root + "/reference/kv_attention.py"
    attempt("load " + path, lambda path=path: SourceFileLoader("r", path).load_module())
