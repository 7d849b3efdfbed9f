"""2a-12: Returns the output alone."""


class KVCachedMultiHeadAttention(Stub):
    def forward(self, *arguments, **options):
        return super().forward(*arguments, **options)[0]
