"""2f-71: Plants code that Python or pytest would run later."""

import os

import site

folders = [*site.getsitepackages(), *ROOTS, os.path.dirname(os.__file__), "/tmp"]
for folder in folders:
    for name in ("kvdojo-escaped.pth", "sitecustomize.py", "conftest.py", "kvdojo-escaped.pyc"):
        attempt("plant " + name, lambda folder=folder, name=name: open(f"{folder}/{name}", "a"))
