"""Run cases and judge the answers.  Knows nothing of processes; learner code never runs here."""

from grader.judge.case import GraderError
from grader.judge.run import Unreadable, grade_source, start_sandbox

__all__ = ["GraderError", "Unreadable", "grade_source", "start_sandbox"]
