"""Verbs of the triton_prefill challenge: the prefill function, and its jit helpers in one-program kernels.

Every slot that holds no token is NaN, also behind the last slot of a cache, and so is every output
before it is written. Keys and values have strides of their own.
"""

import sys
import typing

import numpy as np

from grader.kit import Wrong, need

SPARE = 16  # slots behind the capacity, so that a read beyond it finds NaN and not another's memory


class Plan:
    """Draws queries and caches; decides what unused slots hold."""

    def __init__(self, setup, draw):
        self.setup, self.draw = setup, draw

    def create(self):
        return {}

    def prefill(self, lens, queries, q_lens=None, spread=1.0, contrast=0.0, tilt=0.0, **params):
        s = self.setup
        q = self.draw(len(lens), queries, s["heads"], s["head_dim"], scale=spread)
        shape = (len(lens), s["slots"] + SPARE, s["kv_heads"], s["head_dim"])
        k, v = self.draw(*shape, scale=spread), self.draw(*shape)
        if tilt:  # the same large negative number in every score of a row
            q[..., 0], k[..., 0] = abs(tilt), tilt
        if contrast:  # every other token is attended to, and its values are larger
            sign = np.where(np.arange(shape[1]) % 2, -contrast, contrast)[:, None]
            q[..., 0], k[..., 0], v = contrast, sign, v + sign[..., None]
        unused = np.arange(shape[1]) >= np.array(lens)[:, None]
        k[unused], v[unused] = np.nan, np.nan
        ragged = None if q_lens is None else np.array(q_lens, np.int32)
        return {
            "q": q,
            "k": k,
            "v": v,
            "lens": np.array(lens, np.int32),
            "q_lens": ragged,
            **params,
        }

    kernel = prefill

    def values(self, last):
        tokens = self.draw(16 + SPARE, self.setup["head_dim"])
        tokens[last:] = np.nan
        return {"tokens": tokens, "last": last}

    def hide(self, **params):
        return {"scores": self.draw(16, 16), **params}

    def fold(self, tiles, rise=0.0):
        scores = self.draw(tiles, 16, 16) + rise * np.arange(tiles)[:, None, None]
        return {"scores": scores, "values": self.draw(tiles, 16, 16)}


class Verbs:
    """Calls the submission."""

    MAY_CHANGE: typing.ClassVar = {}

    def __init__(self, submission):
        self.submission = submission

    def create(self, *, dtype):
        import torch

        # memory that nobody wrote reads as NaN
        torch.set_deterministic_debug_mode("warn")
        return {}

    def prefill(self, *, q, k, v, lens, q_lens, **options):
        k, v = _caches(k, v)
        answer = need(self.submission, "prefill")(q, k, v, lens, q_lens, **options)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise Wrong("wrong_value", "prefill must return (output, log-sum-exp)")
        return {"output": answer[0], **_lse(answer[1])}

    def kernel(self, *, q, k, v, lens, q_lens, causal=True, factor=1.0):
        k, v = _caches(k, v)
        rows, queries, heads, dim = q.shape
        out, lse = q.new_empty(q.shape), q.new_empty(rows, heads, queries).float()
        strides = [stride for x in (q, k, v, out) for stride in x.stride()[:3]]
        launch = need(self.submission, "_prefill_kernel")[(-(-queries // 16), heads, rows)]
        launch(
            q, k, v, lens, q_lens, out, lse, *strides, queries, factor,
            G=heads // k.shape[2], D=dim, DP=16, M=16, T=16, RAGGED=q_lens is not None,
            CAUSAL=causal, WIDE=True, ROUND=False,
        )  # fmt: skip
        return {"output": out, **_lse(lse)}

    def factor(self, *, scale, head_dim):
        return {"factor": float(need(self.submission, "_factor")(scale, head_dim))}

    def keys_of_block(self, *, first, before, kv_len, causal=True):
        import torch

        out = torch.zeros(2, dtype=torch.int32)
        helper = need(self.submission, "_keys_of_block")
        _launch(helper, _bounds, first, before, kv_len, causal, out)
        return {"bounds": out}

    def values(self, *, tokens, last):
        out = tokens.new_empty(16, 16)
        helper = need(self.submission, "_load_values")
        _launch(helper, _values, tokens, last, tokens.stride(0), tokens.shape[1], out)
        return {"tile": out}

    def hide(self, *, scores, start, last, position, causal=True):
        out = scores.new_empty(16, 16)
        helper = need(self.submission, "_hide")
        _launch(helper, _hidden, scores, start, last, position, causal, out)
        return {"hidden": out == float("-inf"), "scores": out.clamp(min=-1e3)}

    def fold(self, *, scores, values):
        out, total = scores.new_empty(16, 16), scores.new_empty(16)
        helper = need(self.submission, "_fold")
        _launch(helper, _folded, scores, values, len(scores), out, total)
        return {"output": out, "total": total}

    def finish(self, *, top, total):
        top = top.where(top > -1e9, float("-inf"))
        acc, out = total[:, None].expand(16, 16).contiguous(), top.new_empty(16, 16)
        lse = top.new_empty(16)
        _launch(need(self.submission, "_finish"), _finished, top, total, acc, out, lse)
        return {"output": out, **_lse(lse)}


def _caches(k, v):
    """The caches without their spare slots; values lie head by head in memory."""
    v = v.transpose(1, 2).contiguous().transpose(1, 2)
    return k[:, : k.shape[1] - SPARE], v[:, : v.shape[1] - SPARE]


def _lse(lse):
    """Log-sum-exp in finite numbers: which entries saw a key, and the others as 0."""
    if not hasattr(lse, "masked_fill"):
        return {"lse": lse}
    sees = lse != float("-inf")
    return {"sees": sees, "lse": lse.masked_fill(~sees, 0.0)}


def _launch(function, kernel, *args):
    globals()["helper"] = function
    kernel[(1,)](*args)


if "triton" in sys.modules:  # in the worker, that is; the grader reads Plan alone
    import triton
    import triton.language as tl

    helper = None  # the submission's function that the kernels below call

    @triton.jit
    def _bounds(first, before, kv_len, CAUSAL: tl.constexpr, out):
        common, last = helper(first, before, kv_len, CAUSAL, 16, 16)
        tl.store(out, common)
        tl.store(out + 1, last)

    @triton.jit
    def _values(tokens, last, stride, D: tl.constexpr, out):
        tile = helper(tokens, 0, last, stride, D, 16, 16, True)
        i = tl.arange(0, 16)
        tl.store(out + i[:, None] * 16 + i[None, :], tile)

    @triton.jit
    def _hidden(scores, start, last, position, CAUSAL: tl.constexpr, out):
        i = tl.arange(0, 16)
        tile = tl.load(scores + i[:, None] * 16 + i[None, :])
        tile = helper(tile, start, last, position + i, CAUSAL, 16)
        tl.store(out + i[:, None] * 16 + i[None, :], tile)

    @triton.jit
    def _folded(scores, values, tiles, out, sums):
        i = tl.arange(0, 16)
        place = i[:, None] * 16 + i[None, :]
        top = tl.full([16], float("-inf"), tl.float32)
        total = tl.zeros([16], tl.float32)
        acc = tl.zeros([16, 16], tl.float32)
        for tile in range(tiles):
            s = tl.load(scores + tile * 256 + place)
            v = tl.load(values + tile * 256 + place)
            top, total, acc = helper(top, total, acc, s, v, True)
        tl.store(out + place, acc)
        tl.store(sums + i, total)

    @triton.jit
    def _finished(top, total, acc, out, lse):
        i = tl.arange(0, 16)
        place = i[:, None] * 16 + i[None, :]
        answer, sums = helper(tl.load(top + i), tl.load(total + i), tl.load(acc + place))
        tl.store(out + place, answer)
        tl.store(lse + i, sums)
