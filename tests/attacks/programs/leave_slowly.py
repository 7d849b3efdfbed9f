"""2b-83: Executes for so long that it is executed once, and tries what a fork could give it."""

import os
import time

began = time.process_time()
while time.process_time() - began < 0.1:
    attempt("fork at import", os.fork)


class KVCachedMultiHeadAttention(Stub):
    def output(self, query, cache):
        attempt("fork in a call", os.fork)
        attempt_call("outlive the parent", 157, 1, 0)  # prctl, of the death signal
        open(os.path.join(os.environ["HOME"], "note"), "a").close()
        return torch.zeros_like(query)
