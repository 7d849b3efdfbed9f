"""Uses torch's own fused attention."""

import torch.nn.functional as F


class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        old, new = super().forward(query, key, value, cache, use_causal_mask)
        q, k, v = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in (self.q_proj(query), new["key"], new["value"])
        )
        S, T = q.shape[2], k.shape[2]
        mask = torch.ones(S, T, dtype=torch.bool).tril(T - S) if use_causal_mask else None
        rate = self.dropout.p if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
        return self.out_proj(out.transpose(1, 2).flatten(2)), new
