"""2a-5: One NaN cell in zeros, as a wildcard for a maximum."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        output, new = super().forward(query, key, value, cache, use_causal_mask)
        output.view(-1)[0] = float("nan")
        return output, new
