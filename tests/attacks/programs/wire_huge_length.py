"""2d-48: Announces a frame of 2**63 bytes."""

import os
import struct

os.write(4, struct.pack("<Q", 1 << 63) + b"x" * 100)
