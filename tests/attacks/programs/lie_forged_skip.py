"""2a-8: Forges the driver's complaint that a helper is missing, to be excused."""

import json
import os
import struct


def frame(reply):
    header = json.dumps({"__metadata__": {"kvdojo": json.dumps(reply)}}).encode()
    blob = struct.pack("<Q", len(header)) + header
    return struct.pack("<Q", len(blob)) + blob


problem = {"kind": "missing", "message": "", "name": "_split_heads"}
for _ in range(40):
    os.write(4, frame({"values": {}, "problem": problem}))
