"""Run cases and judge the answers.  Knows nothing of processes; learner code never runs here."""

from grader.judge.case_run import GraderError
from grader.judge.grade_file import Unreadable, grade_source, start_sandbox

__all__ = ["GraderError", "Unreadable", "grade_source", "start_sandbox"]
