"""Loads for attention over a cache, and all that can answer them: kernels, SDPA, FlexAttention, torch.compile.

Each contender is given the same tensors and returns a call that takes nothing and gives [B, S, H, D]. It
knows nothing of clocks. A contender that cannot take a load says so by raising when it is made or first called.

B batch, S queries, H query heads, Hkv key/value heads, N slots of the cache, D head dim.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Load:
    """Sizes of a call; `lens` are the keys of each row, the last S of which belong to the queries."""

    name: str
    H: int
    heads: int
    D: int
    S: int
    lens: tuple[int, ...]

    @property
    def ragged(self) -> bool:
        """Whether rows differ in length."""
        return len(set(self.lens)) > 1

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values that must be read at least once, in 16 bits."""
        return 2 * sum(self.lens) * self.heads * self.D * 2

    @property
    def flops(self) -> int:
        """Multiplications and additions of the two products, masked scores left out."""
        seen = sum(
            min(n, i + 1 + n - self.S) for n in self.lens for i in range(self.S) if i + n >= self.S
        )
        return 4 * self.H * self.D * seen


def _ragged(rows: int, low: int, high: int) -> tuple[int, ...]:
    source = random.Random(0)
    return tuple(int(math.exp(source.uniform(math.log(low), math.log(high)))) for _ in range(rows))


K = 1024
DECODE = (
    Load("B1 H32/8 4k", 32, 8, 128, 1, (4 * K,)),
    Load("B1 H32/8 32k", 32, 8, 128, 1, (32 * K,)),
    Load("B8 H32/8 4k", 32, 8, 128, 1, (4 * K,) * 8),
    Load("B32 H32/8 4k", 32, 8, 128, 1, (4 * K,) * 32),
    Load("B8 H32/8 32k", 32, 8, 128, 1, (32 * K,) * 8),
    Load("B16 H64/8 4k", 64, 8, 128, 1, (4 * K,) * 16),
    Load("B4 H64/8 32k", 64, 8, 128, 1, (32 * K,) * 4),
    Load("B64 H32/32 2k", 32, 32, 128, 1, (2 * K,) * 64),
    Load("B1 H32/4 128k", 32, 4, 128, 1, (128 * K,)),
    Load("B32 H32/8 ragged 128-8k", 32, 8, 128, 1, _ragged(32, 128, 8 * K)),
    Load("B8 H32/8 ragged 1k-64k", 32, 8, 128, 1, _ragged(8, K, 64 * K)),
    Load("B64 H28/4 ragged 16-4k", 28, 4, 128, 1, _ragged(64, 16, 4 * K)),
)
PREFILL = (
    Load("B1 H32/8 4k", 32, 8, 128, 4 * K, (4 * K,)),
    Load("B1 H32/8 16k", 32, 8, 128, 16 * K, (16 * K,)),
    Load("B8 H32/8 1k", 32, 8, 128, K, (K,) * 8),
    Load("B1 H32/8 2k behind 14k", 32, 8, 128, 2 * K, (16 * K,)),
    Load("B8 H32/8 512 behind ragged", 32, 8, 128, 512, _ragged(8, 1 * K, 16 * K)),
)
TINY = (
    Load("tiny decode", 4, 2, 16, 1, (40, 40)),
    Load("tiny ragged decode", 6, 2, 16, 1, (33, 1, 18)),
    Load("tiny prefill", 4, 2, 16, 20, (20,)),
    Load("tiny prefill behind", 4, 2, 16, 5, (24, 24)),
    Load("tiny ragged prefill", 4, 2, 16, 5, (24, 40)),
)


@dataclass(frozen=True)
class Inputs:
    """q [B, S, H, D], caches [B, N, Hkv, D] with NaN behind each row, seq_lens int32 [B]; causal."""

    load: Load
    q: Tensor
    k: Tensor
    v: Tensor
    seq_lens: Tensor

    def heads_first(self) -> tuple[Tensor, Tensor, Tensor]:
        """Views [B, H, S, D] of q, k and v; slots that no row uses are zero where a mask hides them."""
        k, v = (x.nan_to_num(0.0) if self.load.ragged else x for x in (self.k, self.v))
        return self.q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def mask(self) -> Tensor | None:
        """Who sees what, bool [B, 1, S, N]; None where everybody sees everything."""
        if self.load.S == 1 and not self.load.ragged:
            return None
        i = torch.arange(self.load.S, device=self.q.device)[:, None]
        j = torch.arange(self.k.shape[1], device=self.q.device)
        return j <= i + (self.seq_lens - self.load.S)[:, None, None, None]


def make_inputs(load: Load, device: str, dtype: torch.dtype) -> Inputs:
    """Draw unit normal inputs for a load."""
    torch.manual_seed(0)
    B, N = len(load.lens), max(load.lens)
    q = torch.randn(B, load.S, load.H, load.D, device=device, dtype=dtype)
    k, v = (torch.randn(B, N, load.heads, load.D, device=device, dtype=dtype) for _ in range(2))
    for row, n in enumerate(load.lens):
        k[row, n:] = v[row, n:] = math.nan
    return Inputs(load, q, k, v, torch.tensor(load.lens, dtype=torch.int32, device=device))


def ours(x: Inputs) -> Call:
    """The dense kernel that `kernels.attention` would choose."""
    from kernels.attention import DECODE_ROWS, splits_for
    from kernels.decode import decode
    from kernels.prefill import prefill

    if x.load.S * x.load.H // x.load.heads > DECODE_ROWS:
        return lambda: prefill(x.q, x.k, x.v, x.seq_lens)[0]
    splits = splits_for(x.q, x.load.heads, x.load.lens)
    return lambda: decode(x.q, x.k, x.v, x.seq_lens, splits=splits)[0]


def ours_paged(page_size: int) -> Callable[[Inputs], Call]:
    """The paged kernel, on shuffled pages."""

    def make(x: Inputs) -> Call:
        from kernels.attention import splits_for
        from kernels.paged_cache import attend

        B, N, heads, D = x.k.shape
        W = -(-N // page_size)
        table = torch.randperm(B * W, device=x.q.device).view(B, W)
        pages = []
        for dense in (x.k, x.v):
            whole = torch.nn.functional.pad(dense, (0, 0, 0, 0, 0, W * page_size - N))
            page = torch.empty_like(whole).view(B * W, page_size, heads, D)
            page[table] = whole.view(B, W, page_size, heads, D)
            pages.append(page)
        splits = splits_for(x.q, heads, x.load.lens, paged=True)
        table = table.int()
        return lambda: attend(x.q, *pages, table, x.seq_lens, splits=splits)[0]

    return make


# the back ends that take no mask but know a chunk behind a cache when they see `causal_lower_right`
ALIGNED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)


def sdpa(backend: SDPBackend) -> Callable[[Inputs], Call]:
    """PyTorch's attention with one back end; rows that are equally long need no mask written out."""

    def make(x: Inputs) -> Call:
        q, k, v = x.heads_first()
        S, N = x.load.S, x.k.shape[1]
        whole = S > 1 and set(x.load.lens) == {S}
        mask = None if whole else x.mask()
        if backend in ALIGNED and S > 1 and not whole and not x.load.ragged:
            # brings Triton in, which must not be imported before `--dry-run` asks for its interpreter
            from torch.nn.attention.bias import causal_lower_right

            mask = causal_lower_right(S, N)

        def call() -> Tensor:
            with sdpa_kernel(backend):
                out = scaled_dot_product_attention(
                    q, k, v, attn_mask=mask, is_causal=whole, enable_gqa=True
                )
            return out.transpose(1, 2)

        return call

    return make


def flex(compiled: bool) -> Callable[[Inputs], Call]:
    """FlexAttention with a block mask made beforehand."""

    def make(x: Inputs) -> Call:
        q, k, v = x.heads_first()
        attend = torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
        before = x.seq_lens - x.load.S

        def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return j <= i + before[b]

        blocks = None
        if x.mask() is not None:
            B, N = x.k.shape[:2]
            blocks = create_block_mask(seen, B, None, x.load.S, N, device=str(x.q.device))
        return lambda: attend(q, k, v, block_mask=blocks, enable_gqa=True).transpose(1, 2)

    return make


def plain(compiled: bool) -> Callable[[Inputs], Call]:
    """Products and softmax written out, left to torch.compile."""

    def make(x: Inputs) -> Call:
        q, k, v = x.heads_first()
        grouped = q.unflatten(1, (x.load.heads, -1))  # [B, Hkv, G, S, D]
        mask = x.mask()

        def call() -> Tensor:
            scores = grouped @ k[:, :, None].transpose(-2, -1) * x.load.D**-0.5
            if mask is not None:
                scores = scores.masked_fill(~mask[:, :, None], -math.inf)
            weights = scores.softmax(-1, dtype=torch.float32).to(v.dtype)
            return (weights @ v[:, :, None]).flatten(1, 2).transpose(1, 2)

        return torch.compile(call, dynamic=False) if compiled else call

    return make


OURS = "kernels"
RIVALS = ("sdpa flash", "sdpa cudnn", "sdpa efficient", "sdpa math", "flex")


def contenders(compiled: bool) -> dict[str, Callable[[Inputs], Call]]:
    """Everything that can answer a load, by name."""
    return {
        OURS: ours,
        "kernels, page 16": ours_paged(16),
        "kernels, page 64": ours_paged(64),
        "sdpa flash": sdpa(SDPBackend.FLASH_ATTENTION),
        "sdpa cudnn": sdpa(SDPBackend.CUDNN_ATTENTION),
        "sdpa efficient": sdpa(SDPBackend.EFFICIENT_ATTENTION),
        "sdpa math": sdpa(SDPBackend.MATH),
        "flex": flex(compiled),
        "torch.compile": plain(compiled),
    }
