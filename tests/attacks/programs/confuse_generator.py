"""2c-42: Answers an endless iterator."""


class KVCachedMultiHeadAttention(Stub):
    def forward(self, *arguments, **options):
        while True:
            yield torch.zeros(1), {}
