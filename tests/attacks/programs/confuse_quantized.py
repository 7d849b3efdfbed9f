"""2c-39: Answers a quantized tensor."""


# base: reference
class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        output, cache = super().forward(*arguments, **options)
        return torch.quantize_per_tensor(output, 0.1, 0, torch.qint8), cache
