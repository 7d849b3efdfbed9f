"""2a-7: Ends the process with status 0 inside a step."""

import os


class KVCachedMultiHeadAttention(Stub):
    def output(self, query, cache):
        os._exit(0)
