"""2a-5: Answers NaN everywhere."""


class KVCachedMultiHeadAttention(Stub):
    def output(self, query, cache):
        return torch.full_like(query, float("nan"))
