"""Verbs of the triton_decode challenge: the decode function, and its jit helpers in one-program kernels.

Every slot that holds no token is NaN, also behind the last slot of a cache, and so is every output
before it is written. Keys and values have strides of their own.
"""

import sys
import typing

import numpy as np

from grader.sandbox.driverkit import Wrong, need

SPARE = 16  # slots behind the capacity, so that a read beyond it finds NaN and not another's memory


class Plan:
    """Draws queries and caches; decides what unused slots hold."""

    def __init__(self, setup, draw):
        self.setup, self.draw = setup, draw

    def create(self):
        return {}

    def decode(self, lens, queries=1, spread=1.0, tilt=0.0, contrast=0.0, **params):
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
        return {"q": q, "k": k, "v": v, "lens": np.array(lens, np.int32), **params}

    partials = decode

    def load(self, first, last, part):
        s = self.setup
        tokens = self.draw(s["slots"] + SPARE, s["head_dim"])
        tokens[last:] = np.nan
        return {"tokens": tokens, "first": first, "last": last, "part": part}

    def hide(self, rows, **params):
        return {"scores": self.draw(rows, 16), **params}

    def fold(self, tiles, rise=0.0, level=0.0, hidden=()):
        scores = self.draw(tiles, 16, 16) + level
        scores += rise * np.arange(tiles)[:, None, None]
        for i, lanes in enumerate(hidden):
            scores[i, :, 16 - lanes :] = -np.inf
        return {"scores": scores, "values": self.draw(tiles, 16, 16)}

    def combine(self, heads, splits, queries=1, empty=(), level=0.0, factor=1.0):
        s = self.setup
        rows = (1, heads, queries, splits)
        lse = self.draw(*rows) * factor + level
        for split in empty:
            lse[..., split] = -np.inf
        return {"parts": self.draw(*rows, s["head_dim"]), "lse": lse}


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

    def decode(self, *, q, k, v, lens, **options):
        k, v = _caches(k, v)
        answer = need(self.submission, "decode")(q, k, v, lens, **options)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise Wrong("wrong_value", "decode must return (output, log-sum-exp)")
        return {"output": answer[0], **_lse(answer[1])}

    def partials(self, *, q, k, v, lens, splits, causal=True):
        k, v = _caches(k, v)
        rows, queries, heads, dim = q.shape
        out, lse = q.new_empty(q.shape), q.new_empty(rows, heads, queries).float()
        parts = q.new_empty(rows, heads, queries, splits, dim).float()
        sums = q.new_empty(rows, heads, queries, splits).float()
        strides = [stride for x in (q, k, v, out) for stride in x.stride()[:3]]
        kernel, group = need(self.submission, "_decode_kernel"), heads // k.shape[2]
        kernel[(rows, k.shape[2], splits)](
            q, k, v, lens, out, lse, parts, sums, *strides, queries, 1.0,
            G=group, D=dim, DP=16, R=16, T=16, SPLITS=splits, CAUSAL=causal, WIDE=True,
            ROUND=False,
        )  # fmt: skip
        if splits == 1:
            return {"output": out, **_lse(lse)}
        return {"output": parts.masked_fill(~_sees(sums)[..., None], 0.0), **_lse(sums)}

    def factor(self, *, scale, head_dim):
        return {"factor": float(need(self.submission, "_factor")(scale, head_dim))}

    def bounds(self, *, kv_len, splits):
        return {"bounds": _run(self, "_keys_of_split", _bounds, (splits, 2), kv_len, splits)}

    def rows(self, *, group, block=0):
        return {"rows": _run(self, "_rows", _rows, (2, 16), block, group)}

    def seen(self, *, queries, kv_len):
        return {"seen": _run(self, "_seen_by", _seen, (16,), queries, kv_len)}

    def load(self, *, tokens, first, last, part):
        helper = {"keys": "_load_keys", "values": "_load_values"}[part]
        out = tokens.new_empty(16, 16)
        dim = tokens.shape[1]
        kernel = _keys if part == "keys" else _values
        _launch(self, helper, kernel, 1, tokens, first, last, tokens.stride(0), dim, out)
        return {"tile": out}

    def hide(self, *, scores, start, last, seen, causal=True):
        out = scores.new_empty(16, 16)
        wide = scores.new_zeros(16, 16)
        wide[: len(scores)] = scores
        _launch(self, "_hide", _hidden, 1, wide, start, last, seen, causal, out)
        return {"hidden": out == float("-inf"), "scores": out.clamp(min=-1e3)}

    def fold(self, *, scores, values):
        out, lse = scores.new_empty(16, 16), scores.new_empty(16)
        _launch(self, "_fold", _folded, 1, scores, values, len(scores), out, lse)
        return {"output": out, **_lse(lse)}

    def finish(self, *, top, total):
        top = top.where(top > -1e9, float("-inf"))
        acc, out = total[:, None].expand(16, 16).contiguous(), top.new_empty(16, 16)
        lse = top.new_empty(16)
        _launch(self, "_finish", _finished, 1, top, total, acc, out, lse)
        return {"output": out, **_lse(lse)}

    def combine(self, *, parts, lse):
        rows, heads, queries, splits, dim = parts.shape
        out = parts.new_empty(rows, queries, heads, dim)
        whole = parts.new_empty(rows, heads, queries)
        padded = 1 << (splits - 1).bit_length()
        parts = parts.masked_fill(~_sees(lse)[..., None], float("nan"))
        kernel = need(self.submission, "_combine_kernel")
        kernel[(rows, heads, queries)](
            parts, lse, out, whole, *out.stride()[:3],
            D=dim, DP=16, SPLITS=splits, SP=padded, ROUND=False,
        )  # fmt: skip
        return {"output": out, **_lse(whole)}


def _caches(k, v):
    """The caches without their spare slots; values lie head by head in memory."""
    v = v.transpose(1, 2).contiguous().transpose(1, 2)
    return k[:, : k.shape[1] - SPARE], v[:, : v.shape[1] - SPARE]


def _sees(lse):
    return lse != float("-inf")


def _lse(lse):
    """Log-sum-exp in finite numbers: which entries saw a key, and the others as 0."""
    if not hasattr(lse, "masked_fill"):
        return {"lse": lse}
    return {"sees": _sees(lse), "lse": lse.masked_fill(~_sees(lse), 0.0)}


def _run(verbs, name, kernel, shape, *args):
    import torch

    out = torch.full(shape, -1, dtype=torch.int32)
    _launch(verbs, name, kernel, shape[0] if name == "_keys_of_split" else 1, *args, out)
    return out


def _launch(verbs, name, kernel, programs, *args):
    globals()["helper"] = need(verbs.submission, name)
    kernel[(programs,)](*args)


if "triton" in sys.modules:  # in the worker, that is; the grader reads Plan alone
    import triton
    import triton.language as tl

    helper = None  # the submission's function that the kernels below call

    @triton.jit
    def _bounds(kv_len, splits: tl.constexpr, out):
        split = tl.program_id(0)
        first, last = helper(split, kv_len, splits, 16)
        tl.store(out + 2 * split, first)
        tl.store(out + 2 * split + 1, last)

    @triton.jit
    def _rows(block, group: tl.constexpr, out):
        query, member = helper(block, group, 16)
        tl.store(out + tl.arange(0, 16), query)
        tl.store(out + 16 + tl.arange(0, 16), member)

    @triton.jit
    def _seen(queries, kv_len, out):
        tl.store(out + tl.arange(0, 16), helper(tl.arange(0, 16), queries, kv_len))

    @triton.jit
    def _keys(tokens, first, last, stride, D: tl.constexpr, out):
        tile = helper(tokens, first + tl.arange(0, 16), last, stride, D, 16)
        i = tl.arange(0, 16)
        tl.store(out + i[:, None] * 16 + i[None, :], tile)

    @triton.jit
    def _values(tokens, first, last, stride, D: tl.constexpr, out):
        tile = helper(tokens, first + tl.arange(0, 16), last, stride, D, 16)
        i = tl.arange(0, 16)
        tl.store(out + i[:, None] * 16 + i[None, :], tile)

    @triton.jit
    def _hidden(scores, start, last, seen, CAUSAL: tl.constexpr, out):
        i = tl.arange(0, 16)
        tile = tl.load(scores + i[:, None] * 16 + i[None, :])
        tile = helper(tile, start + i, last, seen + i, CAUSAL)
        tl.store(out + i[:, None] * 16 + i[None, :], tile)

    @triton.jit
    def _folded(scores, values, tiles, out, lse):
        i = tl.arange(0, 16)
        place = i[:, None] * 16 + i[None, :]
        top = tl.full([16], float("-inf"), tl.float32)
        total = tl.zeros([16], tl.float32)
        acc = tl.zeros([16, 16], tl.float32)
        for tile in range(tiles):
            s = tl.load(scores + tile * 256 + place)
            v = tl.load(values + tile * 256 + place)
            top, total, acc = helper(top, total, acc, s, v, True)
        safe = tl.where(total == 0.0, 1.0, total)
        tl.store(out + place, acc / safe[:, None])
        tl.store(lse + i, tl.where(total == 0.0, float("-inf"), top + tl.log2(safe)))

    @triton.jit
    def _finished(top, total, acc, out, lse):
        i = tl.arange(0, 16)
        place = i[:, None] * 16 + i[None, :]
        answer, sums = helper(tl.load(top + i), tl.load(total + i), tl.load(acc + place))
        tl.store(out + place, answer)
        tl.store(lse + i, sums)
