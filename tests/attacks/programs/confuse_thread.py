"""2c-37: Finishes the work in a background thread."""

import threading


class KVCachedMultiHeadAttention(Stub):
    def output(self, query, cache):
        result = torch.zeros_like(query)
        threading.Thread(target=lambda: result.add_(1)).start()
        escaped("started a thread")
        return result
