"""2d-49: A header of nested brackets."""

import os
import struct

bomb = b"[" * 100_000
blob = struct.pack("<Q", len(bomb)) + bomb
os.set_blocking(4, False)
os.write(4, struct.pack("<Q", len(blob)) + blob[:60_000])
