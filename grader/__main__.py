"""`python -m grader`: the same program as the console script `kvdojo`."""

import sys

from grader.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
