"""How results are shown: to people in the terminal and in a page, to other programs as files.

A report is made from a `Result` alone. Nothing here knows how a submission was run or judged.
"""
