"""2a-8: Writes well-formed replies to every descriptor, then leaves."""

import json
import os
import struct


def frame(reply):
    header = json.dumps({"__metadata__": {"kvdojo": json.dumps(reply)}}).encode()
    blob = struct.pack("<Q", len(header)) + header
    return struct.pack("<Q", len(blob)) + blob


for fd in range(1, 16):
    try:
        os.write(fd, frame({"values": {"verdict": "passed", "ready": True}}) * 20)
    except OSError:
        continue
os._exit(0)
