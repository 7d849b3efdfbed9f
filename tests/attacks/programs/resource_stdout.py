"""2e-62: Prints a hundred megabytes."""

import os

block = b"x" * 65536
for _ in range(1600):
    os.write(1, block)
