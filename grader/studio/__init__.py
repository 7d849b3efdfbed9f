"""The dojo in the browser: a small server on this machine alone, whose pages show what the terminal tells.

Nothing is decided here.  Verdicts, focus, help and history come from the functions that `watch`, `more`, `suspect` and
`log` use; `grader/cli/studio_command.py` hands them over.
"""
