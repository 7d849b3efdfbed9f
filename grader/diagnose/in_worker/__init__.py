"""What is sent into the worker and runs beside learner code; nothing here is imported by the grader."""
