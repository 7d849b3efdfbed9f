"""2a-9: Answers all later questions before they are asked."""

import json
import os
import struct


def frame(reply):
    header = json.dumps({"__metadata__": {"kvdojo": json.dumps(reply)}}).encode()
    blob = struct.pack("<Q", len(header)) + header
    return struct.pack("<Q", len(blob)) + blob


for _ in range(40):
    os.write(4, frame({"values": {"ready": True}}))
