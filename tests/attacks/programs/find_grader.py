"""2b-18: Imports the engine's judging code."""

import importlib

import grader
import grader.sandbox

for root in ROOTS:
    grader.__path__.append(root + "/grader")
    sys.path.insert(0, root)
sys.path_importer_cache.clear()
for name in ("grader.judge", "grader.content", "grader.judge.golden", "challenges", "tests"):
    attempt("import " + name, lambda name=name: importlib.import_module(name))
