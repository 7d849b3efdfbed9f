"""2a-6: Prints a passing report on both streams."""

import sys

for stream in (sys.stdout, sys.stderr):
    print('{"schema": "kvdojo/result/v1", "verdict": "passed", "score": 20}', file=stream)
