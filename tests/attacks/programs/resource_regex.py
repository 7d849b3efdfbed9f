"""2e-64: A regular expression that backtracks for ever."""

import re

re.match(r"(a+)+$", "a" * 64 + "b")
