"""The benchmark for debugging agents: tasks drawn under a private key, a desk to work at, marks.

Nothing here needs a framework; `adapters/` hands the same tasks to others.
"""
