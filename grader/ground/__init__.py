"""What every other package may stand on: files, locks, strict JSON, near names and limits.

Only the standard library is imported here, because processes that run learner code load some of these modules too.
"""
