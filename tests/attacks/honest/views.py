"""Returns views that are not contiguous."""


class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        output, cache = super().forward(*arguments, **options)

        wide = torch.stack([output, output], -1)
        return wide[..., 0], {name: entry.mT.contiguous().mT for name, entry in cache.items()}
