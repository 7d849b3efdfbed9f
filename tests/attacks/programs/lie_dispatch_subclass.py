"""2a-3: A wrapper subclass that answers every operation with itself."""


class Wrapper(torch.Tensor):
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return args[0]


class KVCachedMultiHeadAttention(Stub):
    def output(self, query, cache):
        return Wrapper(query)
