"""2c-39: Answers a complex tensor."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        output, cache = super().forward(*arguments, **options)
        return output.to(torch.complex64), cache
