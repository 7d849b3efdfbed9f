"""Preloaded to imitate a machine without /proc."""

from grader.sandbox.layers import rlimits

rlimits.STATM = "/no/such/statm"
