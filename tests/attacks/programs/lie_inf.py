"""2a-5: Answers infinity everywhere."""


class KVCachedMultiHeadAttention(Stub):
    def output(self, query, cache):
        return torch.full_like(query, float("inf"))
