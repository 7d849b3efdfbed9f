"""2c-46: Keeps its own history and ignores the cache it is given."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        if cache is None:
            self.history = None
        output, self.history = super().forward(query, key, value, self.history, use_causal_mask)
        return output, self.history
