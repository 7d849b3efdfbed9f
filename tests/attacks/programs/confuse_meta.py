"""2c-39: Answers a tensor without numbers."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        output, cache = super().forward(*arguments, **options)
        return output.to("meta"), cache
