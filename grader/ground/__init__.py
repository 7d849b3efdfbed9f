"""What every room may use and what uses no room: files, locks, strict JSON, arrays, errors with exit codes, safe text.

Some of these modules are also loaded in processes that run learner code, so they import little: NumPy at most.
"""
