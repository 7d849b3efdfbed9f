"""2d-53: Floods the answer pipe."""

import os

while True:
    os.write(4, b"\x00" * 65536)
