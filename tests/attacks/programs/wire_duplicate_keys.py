"""2d-49: A header with the same key twice."""

import os
import struct

header = b'{"__metadata__":{"kvdojo":"{}","kvdojo":"{"values":{"ready":true}}"},"__metadata__":{}}'
blob = struct.pack("<Q", len(header)) + header
os.write(4, struct.pack("<Q", len(blob)) + blob)
