"""2c-40: Answers 32 TiB that take four bytes here."""


class KVCachedMultiHeadAttention(Stub):
    def output(self, query, cache):
        return torch.zeros(1, 1, 1).expand(1 << 14, 1 << 14, 1 << 15)
