"""2c-39: Answers eight-bit floats."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        output, cache = super().forward(*arguments, **options)
        return output.to(torch.float8_e4m3fn), cache
