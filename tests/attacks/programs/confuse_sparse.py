"""2c-39: Answers a sparse tensor."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        output, cache = super().forward(*arguments, **options)
        return output.to_sparse(), cache
