"""2c-42: A mapping whose entries never end."""


class Endless(dict):
    def items(self):
        while True:
            yield "key", torch.zeros(1)

    def __getitem__(self, name):
        while True:
            pass


class KVCachedMultiHeadAttention(Stub):
    def forward(self, *arguments, **options):
        return torch.zeros(1), Endless()
