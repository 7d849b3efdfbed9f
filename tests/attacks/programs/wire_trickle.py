"""2d-51: Sends one byte at a time, for ever."""

import os
import struct

import time

os.write(4, struct.pack("<Q", 1000))
while True:
    os.write(4, b"x")
    time.sleep(0.05)
