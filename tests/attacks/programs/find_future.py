"""2b-28: Attends to the tokens after its own: no causal mask at all."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def _apply_causal_mask(self, scores, *lengths):
        return scores
