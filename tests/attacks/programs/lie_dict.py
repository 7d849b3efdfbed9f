"""2a-4: Returns a cache whose items and entries disagree."""


class Lying(dict):
    def __getitem__(self, name):
        return torch.zeros(1)

    def items(self):
        return [("verdict", "passed")]


class KVCachedMultiHeadAttention(Stub):
    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        output, new = super().forward(query, key, value, cache, use_causal_mask)
        return output, Lying(new)
