"""2d-52: Never reads a request again."""

import time


class KVCachedMultiHeadAttention(Stub):
    def __init__(self, *arguments, **options):
        time.sleep(60)
