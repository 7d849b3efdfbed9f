"""Run one case of a submission and of the reference side by side, and find where the two first differ.

The entry point is `grader.diagnose.trace_case.trace_case`; what it returns is described in `trace_model`.
`in_worker/` is the only part that runs beside learner code.
"""
