"""A ring whose keys are stored rotated, in float32 or wider, written and read token by token with numpy's help."""

import numpy as np
import torch


class WindowCache:
    def __init__(
        self,
        batch,
        kv_heads,
        window,
        sinks,
        head_dim,
        *,
        spare=0,
        theta=10000.0,
        dtype=torch.float32,
    ):
        for number, least in ((batch, 1), (kv_heads, 1), (sinks, 0), (spare, 0), (head_dim, 2)):
            if number < least:
                raise ValueError(f"{number} is less than {least}")
        if head_dim & 1 or (window is not None and window < 1):
            raise ValueError("head_dim must be even, a window at least 1")
        self._made_with = (
            (batch, kv_heads, window, sinks, head_dim),
            {"spare": spare, "theta": theta, "dtype": dtype},
        )
        self.type = np.float64 if dtype == torch.float64 else np.float32
        self.slots = {}  # slot -> position, key, value
        self.length = 0
        self.high = 0  # the largest length since the ring was empty last

    def _sizes(self):
        return self._made_with[0]

    def _slot(self, position):
        _, _, window, sinks, _ = self._sizes()
        if window is None or position < sinks:
            return ("own", position)
        return ("ring", position % (window + self._made_with[1]["spare"]))

    def _turned(self, x, position):
        half = x.shape[-1] // 2
        angles = position * self._made_with[1]["theta"] ** (
            -np.arange(half, dtype=np.float64) / half
        )
        cos, sin = np.cos(angles).astype(self.type), np.sin(angles).astype(self.type)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)

    def _numbers(self, x):
        return x.detach().to(torch.float64).numpy().astype(self.type)

    def _refuse(self, key, value):
        batch, heads, _, _, dim = self._sizes()
        dtype = self._made_with[1]["dtype"]
        if key.dtype != dtype or value.dtype != dtype:
            raise ValueError("dtype")
        if len(key.shape) != 4 or len(value.shape) != 4 or key.shape != value.shape:
            raise ValueError("shape")
        if list(key.shape[:2]) != [batch, heads] or key.shape[-1] != dim:
            raise ValueError("sizes")

    def _take(self, key, value):
        self.slots[self._slot(self.length)] = (self.length, self._turned(key, self.length), value)
        self.length += 1
        self.high = max(self.high, self.length)

    def append(self, key, value):
        self._refuse(key, value)
        keys, values = self._numbers(key), self._numbers(value)
        for i in range(keys.shape[2]):
            self._take(keys[:, :, i], values[:, :, i])

    def attend(self, query, key, value):
        self._refuse(key, value)
        batch, heads, window, sinks, dim = self._sizes()
        dtype = self._made_with[1]["dtype"]
        if query.dtype != dtype or query.dim() != 4:
            raise ValueError("query")
        if (
            query.shape[0] != batch
            or query.shape[2:] != key.shape[2:]
            or not query.shape[1]
            or query.shape[1] % heads
        ):
            raise ValueError("query")
        group = query.shape[1] // heads
        queries, keys, values = map(self._numbers, (query, key, value))
        outputs = np.zeros(queries.shape, self.type)
        for i in range(keys.shape[2]):  # one token after the other, so none is read too late
            self._take(keys[:, :, i], values[:, :, i])
            at = self.length - 1
            seen = [
                (k, v)
                for position, k, v in self.slots.values()
                if window is None or at - position < window or position < sinks
            ]
            asked = self._turned(queries[:, :, i], at)
            for head in range(query.shape[1]):
                k = np.stack([k[:, head // group] for k, _ in seen], 1)
                v = np.stack([v[:, head // group] for _, v in seen], 1)
                scores = np.einsum("btd,bd->bt", k, asked[:, head]) / np.sqrt(self.type(dim))
                weights = np.exp(scores - scores.max(1, keepdims=True))
                outputs[:, head, i] = np.einsum(
                    "bt,btd->bd", weights / weights.sum(1, keepdims=True), v
                )
        return torch.from_numpy(outputs).to(dtype)

    def _lowest(self):
        _, _, window, _, _ = self._sizes()
        return 0 if window is None else self.high - window - self._made_with[1]["spare"]

    def can_trim(self, count):
        _, _, window, sinks, _ = self._sizes()
        left = self.length - count
        if count < 0 or left < 0:
            return False
        if count == 0 or window is None:
            return True
        first = max(left - window + 1, sinks)
        return first >= left or first >= self._lowest()

    def trim(self, count):
        if not self.can_trim(count):
            raise ValueError(f"cannot take back {count}")
        self.length -= count
        self.slots = {slot: token for slot, token in self.slots.items() if token[0] < self.length}
        _, _, window, _, _ = self._sizes()
        if (
            window is not None and self._lowest() > self.length
        ):  # the ring is empty: nothing of it is missing
            self.high = self.length + window + self._made_with[1]["spare"]

    def fork(self):
        sizes, named = self._made_with
        twin = WindowCache(*sizes, **named)
        twin.slots, twin.length, twin.high = dict(self.slots), self.length, self.high
        return twin

    def held(self):
        return torch.tensor(sorted(token[0] for token in self.slots.values()), dtype=torch.long)


class WindowStack:
    def __init__(
        self,
        batch,
        kv_heads,
        windows,
        sinks,
        head_dim,
        *,
        spare=0,
        theta=10000.0,
        dtype=torch.float32,
    ):
        if len(windows) == 0:
            raise ValueError("no layers")
        self._all = {}
        for number, window in enumerate(windows):
            self._all[number] = WindowCache(
                batch, kv_heads, window, sinks, head_dim, spare=spare, theta=theta, dtype=dtype
            )

    def __getattr__(self, name):
        if name == "length":
            return min(cache.length for cache in self._all.values())
        raise AttributeError(name)

    def attend(self, layer, query, key, value):
        return self._all[layer].attend(query, key, value)

    def trim(self, count):
        caches = list(self._all.values())
        for cache in caches:
            if cache.length != caches[0].length or not cache.can_trim(count):
                raise ValueError("all layers or none")
        for cache in caches:
            cache.trim(count)

    def fork(self):
        twin = WindowStack.__new__(WindowStack)
        twin.__dict__["_all"] = {number: cache.fork() for number, cache in self._all.items()}
        return twin
