"""2c-38: Answers one number that would broadcast."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        output, cache = super().forward(*arguments, **options)
        return output.mean(), cache
