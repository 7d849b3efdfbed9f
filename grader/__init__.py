"""kvdojo's engine: load challenges, run submissions in isolation, judge them, report.

Importing this package imports neither torch nor any learner code.
"""

__version__ = "0.1.0"
