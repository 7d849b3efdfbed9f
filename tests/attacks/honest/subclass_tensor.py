"""Returns an honest tensor subclass."""


class Named(torch.Tensor):
    pass


class KVCachedMultiHeadAttention(KVCachedMultiHeadAttention):
    def forward(self, *arguments, **options):
        output, cache = super().forward(*arguments, **options)

        return output.as_subclass(Named), cache
