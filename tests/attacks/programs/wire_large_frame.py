"""2d-48: Announces one frame larger than any answer."""

import os
import struct

os.write(4, struct.pack("<Q", 1 << 30) + b"x" * 100)
