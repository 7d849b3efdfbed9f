"""Grade a folder full of submissions, lose none of them, and go on after a kill.

Finding files and keeping books is done here; how one file is judged is `grader.judge`'s business.
"""
