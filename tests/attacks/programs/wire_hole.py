"""2d-50: Bytes before the first tensor belong to none."""

import json
import os
import struct

tensors = {"out/a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}
meta = {"__metadata__": {"kvdojo": '{"values":{}}'}}
header = json.dumps({**meta, **tensors}).encode()
blob = struct.pack("<Q", len(header)) + header + b"x" * 8
os.write(4, struct.pack("<Q", len(blob)) + blob)
