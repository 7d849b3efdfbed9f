"""All tokens in lists, and what is dropped is only a number: no ring at all."""

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
        if (
            batch <= 0
            or kv_heads <= 0
            or sinks < 0
            or spare < 0
            or head_dim < 2
            or head_dim % 2 == 1
        ):
            raise ValueError("sizes")
        if window is not None and window <= 0:
            raise ValueError("window")
        self.shape = (batch, kv_heads, head_dim)
        self.window, self.sinks, self.spare, self.theta, self.dtype = (
            window,
            sinks,
            spare,
            theta,
            dtype,
        )
        self.past = []  # (key, value) of each token
        self.gone = 0  # so many first tokens are gone, but for sinks

    @property
    def length(self):
        return len(self.past)

    def _fits(self, x):
        if not isinstance(x, torch.Tensor) or x.dim() != 4 or x.dtype != self.dtype:
            raise ValueError("tensor")
        if (x.shape[0], x.shape[1], x.shape[3]) != self.shape:
            raise ValueError("shape")

    def append(self, key, value):
        self._fits(key)
        self._fits(value)
        if key.shape != value.shape:
            raise ValueError("tokens")
        for i in range(key.shape[2]):
            self.past.append((key[:, :, i].clone(), value[:, :, i].clone()))
        if self.window is not None:
            self.gone = max(self.gone, len(self.past) - self.window - self.spare)

    def attend(self, query, key, value):
        self._fits(key)
        self._fits(value)
        batch, heads, dim = self.shape
        if query.dim() != 4 or query.dtype != self.dtype:
            raise ValueError("query")
        if query.shape[0] != batch or query.shape[3] != dim or query.shape[2] != key.shape[2]:
            raise ValueError("query")
        if query.shape[1] == 0 or query.shape[1] % heads:
            raise ValueError("heads")
        first = len(self.past)
        self.append(key, value)
        out = torch.empty_like(query)
        group = query.shape[1] // heads
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        for i in range(query.shape[2]):
            p = first + i
            low = 0 if self.window is None else max(0, p + 1 - self.window)
            seen = sorted({*range(min(self.sinks, p + 1)), *range(low, p + 1)})
            turned = turn(query[:, :, i].to(wide), p, self.theta)
            keys = torch.stack([turn(self.past[j][0].to(wide), j, self.theta) for j in seen], 2)
            values = torch.stack([self.past[j][1].to(wide) for j in seen], 2)
            for h in range(query.shape[1]):
                k, v = keys[:, h // group], values[:, h // group]
                scores = (k @ turned[:, h, :, None]).squeeze(-1) / dim**0.5
                out[:, h, i] = (scores.softmax(-1)[:, None] @ v).squeeze(1).to(self.dtype)
        return out

    def can_trim(self, count):
        if count < 0 or count > len(self.past):
            return False
        if count == 0 or self.window is None:
            return True
        left = len(self.past) - count
        return all(
            j >= self.gone or j < self.sinks for j in range(max(0, left + 1 - self.window), left)
        )

    def trim(self, count):
        if not self.can_trim(count):
            raise ValueError("cannot be taken back")
        if count:
            del self.past[-count:]
        self.gone = min(self.gone, len(self.past))

    def fork(self):
        batch, heads, dim = self.shape
        other = WindowCache(
            batch,
            heads,
            self.window,
            self.sinks,
            dim,
            spare=self.spare,
            theta=self.theta,
            dtype=self.dtype,
        )
        other.past, other.gone = list(self.past), self.gone
        return other

    def held(self):
        if self.window is None:
            return torch.arange(len(self.past))
        return torch.tensor(
            [j for j in range(len(self.past)) if j < self.sinks or j >= self.gone],
            dtype=torch.int64,
        )


def turn(x, position, theta):
    half = x.shape[-1] // 2
    angle = position * torch.tensor(
        [theta ** (-i / half) for i in range(half)], dtype=torch.float64
    )
    c, s = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * c - b * s, b * c + a * s], -1)


class WindowStack:
    def __init__(self, batch, kv_heads, windows, sinks, head_dim, **rest):
        self.layers = [WindowCache(batch, kv_heads, w, sinks, head_dim, **rest) for w in windows]
        if not self.layers:
            raise ValueError("no layers")

    @property
    def length(self):
        return min(x.length for x in self.layers)

    def attend(self, layer, query, key, value):
        return self.layers[layer].attend(query, key, value)

    def trim(self, count):
        lengths = [x.length for x in self.layers]
        if min(lengths) != max(lengths):
            raise ValueError("out of step")
        for x in self.layers:
            if not x.can_trim(count):
                raise ValueError("a layer cannot")
        [x.trim(count) for x in self.layers]

    def fork(self):
        new = object.__new__(WindowStack)
        new.layers = [x.fork() for x in self.layers]
        return new
