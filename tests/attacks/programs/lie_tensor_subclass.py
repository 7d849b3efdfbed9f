"""2a-3: Returns a tensor subclass whose every comparison lies."""


class Liar(torch.Tensor):
    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return torch.zeros(1)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("allclose", "equal", "eq", "isclose", "sub"):
            return True
        return super().__torch_function__(function, types, args, kwargs or {})


class KVCachedMultiHeadAttention(Stub):
    def output(self, query, cache):
        return torch.zeros_like(query).as_subclass(Liar)
