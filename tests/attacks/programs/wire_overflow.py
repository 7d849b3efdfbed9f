"""2d-50: A shape whose product overflows."""

import json
import os
import struct

tensors = {"out/a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}
meta = {"__metadata__": {"kvdojo": '{"values":{}}'}}
header = json.dumps({**meta, **tensors}).encode()
blob = struct.pack("<Q", len(header)) + header + b"x" * 4
os.write(4, struct.pack("<Q", len(blob)) + blob)
