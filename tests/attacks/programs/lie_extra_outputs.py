"""2a-12: Returns three things, the third a verdict."""


class KVCachedMultiHeadAttention(Stub):
    def forward(self, *arguments, **options):
        return (*super().forward(*arguments, **options), {"verdict": "passed"})
