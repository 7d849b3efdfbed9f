"""Verbs of the paged_cache challenge: slots, append, attend, whole turns, and the jit helpers alone.

Slots that hold no token are NaN, and so are outputs before they are written. Pages are dealt out in a
drawn order; keys and values have strides of their own. Caches are plain tensors that the grader keeps.
"""

import sys
import typing

import numpy as np

from grader.kit import Wrong, need


class Plan:
    """Draws tokens, queries and the order of the pages."""

    def __init__(self, setup, draw):
        self.setup, self.draw = setup, draw

    def create(self):
        return {}

    def attend(self, lens, queries=1, q_lens=None, contrast=0.0, spread=1.0, tilt=0.0, **params):
        s = self.setup
        lens = np.array(lens, np.int32)
        table = self._table(lens, spare=0)
        q = self.draw(len(lens), queries, s["heads"], s["head_dim"], scale=spread)
        k, v = (
            self._tokens(s["pages"], s["page"], scale=spread),
            self._tokens(s["pages"], s["page"]),
        )
        if tilt:  # the same large negative number in every score of a row
            q[..., 0], k[..., 0] = abs(tilt), tilt
        if contrast:  # every other token is attended to, and its values are larger
            sign = np.where(np.arange(s["page"]) % 2, -contrast, contrast)[:, None]
            q[..., 0], k[..., 0], v = contrast, sign, v + sign[..., None]
        k, v = self._poisoned(k, v, table, lens)
        ragged = None if q_lens is None else np.array(q_lens, np.int32)
        return {"q": q, "k": k, "v": v, "table": table, "lens": lens, "q_lens": ragged, **params}

    partials = attend

    def far(self, lens, **params):
        return self.attend(lens, **params)

    def turn(self, new, tokens, cache=None, fill=None, **params):
        s = self.setup
        if cache is None:
            old = np.array(fill or [0] * len(new), np.int32)
            table = self._table(np.full(len(old), s["width"] * s["page"]), spare=s["pages"] - 1)
            k, v = self._tokens(s["pages"], s["page"]), self._tokens(s["pages"], s["page"])
        else:
            kept = self.saved[cache]
            old, table = kept["lens"].values, kept["table"].values
            k, v = (kept[name].values.astype(np.float64) for name in "kv")
        k, v = self._poisoned(k, v, table, old)
        q = self.draw(len(new), tokens, s["heads"], s["head_dim"])
        fresh = {"k_new": self._tokens(len(new), tokens), "v_new": self._tokens(len(new), tokens)}
        lens = {"old": old, "new": np.array(new, np.int32)}
        return {"q": q, "k": k, "v": v, "table": table, **lens, **fresh, **params}

    def slots(self, old, new, tokens):
        table = self._table(np.full(len(old), self.setup["width"] * self.setup["page"]), spare=0)
        lens = {"old": np.array(old, np.int32), "new": np.array(new, np.int32)}
        return {"table": table, **lens, "tokens": tokens, "page": self.setup["page"]}

    def append(self, slots):
        s = self.setup
        pages = {name: self._tokens(s["pages"], s["page"]) for name in "kv"}
        fresh = {f"{name}_new": self._tokens(len(slots)) for name in "kv"}
        return {**pages, **fresh, "slots": np.array(slots, np.int64)}

    def slot_of(self, lens, row, stride):
        lens = np.array(lens, np.int32)
        count, page = int(lens[row]), self.setup["page"]
        table = self._table(lens, spare=0)
        return {"table": table, "row": row, "count": count, "page": page, "stride": stride}

    def fold(self, tiles, rise=0.0, level=0.0, hidden=()):
        scores = self.draw(tiles, 16, 16) + level
        scores += rise * np.arange(tiles)[:, None, None]
        for i, lanes in enumerate(hidden):
            scores[i, :, 16 - lanes :] = -np.inf
        return {"scores": scores, "values": self.draw(tiles, 16, 16)}

    def combine(self, heads, splits, empty=()):
        lse = self.draw(1, heads, 1, splits)
        lse[..., list(empty)] = -np.inf
        return {"parts": self.draw(1, heads, 1, splits, self.setup["head_dim"]), "lse": lse}

    def _tokens(self, *shape, scale=1.0):
        return self.draw(*shape, self.setup["kv_heads"], self.setup["head_dim"], scale=scale)

    def _table(self, lens, spare):
        """Deal out pages in a drawn order; entries that no token needs name the spare page."""
        s = self.setup
        others = [page for page in range(s["pages"]) if page != spare]
        order = [others[i] for i in self.draw.permutation(len(others))]
        if spare:  # the very first slot is in use
            order.insert(0, order.pop(order.index(0)))
        table = np.full((len(lens), s["width"]), spare, np.int32)
        for row, length in enumerate(lens):
            for entry in range(-(-int(length) // s["page"])):
                table[row, entry] = order.pop(0)
        return table

    def _poisoned(self, k, v, table, lens):
        used = np.zeros(k.shape[:2], bool)
        for row, length in enumerate(lens):
            token = np.arange(length)
            used[table[row, token // k.shape[1]], token % k.shape[1]] = True
        return (np.where(used[:, :, None, None], x, np.nan) for x in (k, v))


class Verbs:
    """Calls the submission."""

    MAY_CHANGE: typing.ClassVar = {"append": {"k", "v"}, "turn": {"k", "v"}}

    def __init__(self, submission):
        self.submission = submission

    def create(self, *, dtype):
        import torch

        # memory that nobody wrote reads as NaN
        torch.set_deterministic_debug_mode("warn")
        return {}

    def attend(self, *, q, k, v, table, lens, q_lens, **options):
        answer = need(self.submission, "attend")(q, k, _apart(v), table, lens, q_lens, **options)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise Wrong("wrong_value", "attend must return (output, log-sum-exp)")
        return {"output": answer[0], **_lse(answer[1])}

    def far(self, *, k, **tensors):
        import torch

        if k.dtype == torch.float16:  # the pages lie 2 GiB apart
            torch.utils.deterministic.fill_uninitialized_memory = False
            memory = torch.empty((len(k) - 1 << 30) + k[0].numel(), dtype=k.dtype)
            torch.utils.deterministic.fill_uninitialized_memory = True
            k = memory.as_strided(k.shape, (1 << 30, *k.stride()[1:])).copy_(k)
        return self.attend(k=k, **tensors)

    def turn(self, *, q, k, v, table, old, new, k_new, v_new, **options):
        slots_of, append = (need(self.submission, name) for name in ("slots_of", "append"))
        v = _apart(v)
        slots = slots_of(table, old, new, q.shape[1], k.shape[1])
        append(k, v, k_new.flatten(0, 1), v_new.flatten(0, 1), slots.flatten())
        lens = old + new
        ragged = new if (new < q.shape[1]).any() else None
        answer = need(self.submission, "attend")(q, k, v, table, lens, ragged, **options)
        kept = {name: _tidy(x, table, lens) for name, x in (("k", k), ("v", v))}
        return {"output": answer[0], **_lse(answer[1]), **kept, "table": table, "lens": lens}

    def slots(self, *, table, old, new, tokens, page):
        return {"slots": need(self.submission, "slots_of")(table, old, new, tokens, page)}

    def append(self, *, k, v, k_new, v_new, slots):
        v, v_new = _apart(v), v_new.transpose(0, 1).contiguous().transpose(0, 1)
        need(self.submission, "append")(k, v, k_new, v_new, slots)
        return {"k": k, "v": v}

    def partials(self, *, q, k, v, table, lens, q_lens, splits, causal=True):
        rows, queries, heads, dim = q.shape
        v, kv_heads = _apart(v), k.shape[2]
        out, lse = q.new_empty(q.shape), q.new_empty(rows, heads, queries).float()
        parts = q.new_empty(rows, heads, queries, splits, dim).float()
        sums = q.new_empty(rows, heads, queries, splits).float()
        strides = [*q.stride()[:3], *k.stride()[:3], *v.stride()[:3]]
        kernel, group = need(self.submission, "_attend_kernel"), heads // kv_heads
        kernel[(rows, kv_heads * splits, -(-queries * group // 16))](
            q, k, v, table, lens, q_lens, out, lse, parts, sums,
            *strides, table.stride(0), *out.stride()[:3], queries, 1.0,
            G=group, D=dim, DP=16, R=16, T=16, PAGE=k.shape[1], SPLITS=splits,
            RAGGED=q_lens is not None, CAUSAL=causal, WIDE=True, ROUND=False,
        )  # fmt: skip
        if splits == 1:
            return {"output": out, **_lse(lse)}
        return {"output": parts, **_lse(sums)}

    def slot_of(self, *, table, row, count, page, stride):
        helper = need(self.submission, "_slot_of")
        out = table.new_zeros(16).long()
        _launch(helper, _slots, table, row, count, table.stride(0), page, stride, out)
        return {"offsets": out[:count]}

    def newest(self, *, queries, kv_len, causal=True):
        import torch

        out = torch.zeros(16, dtype=torch.int32)
        _launch(need(self.submission, "_newest_seen"), _newest, queries, kv_len, causal, out)
        return {"newest": out}

    def fold(self, *, scores, values):
        out, lse = scores.new_empty(16, 16), scores.new_empty(16)
        helper = need(self.submission, "_fold")
        _launch(helper, _folded, scores, values, len(scores), out, lse)
        return {"output": out, **_lse(lse)}

    def finish(self, *, top, total):
        top = top.where(top > -1e9, float("-inf"))
        acc, out = total[:, None].expand(16, 16).contiguous(), top.new_empty(16, 16)
        lse = top.new_empty(16)
        _launch(need(self.submission, "_finish"), _finished, top, total, acc, out, lse)
        return {"output": out, **_lse(lse)}

    def combine(self, *, parts, lse):
        rows, heads, queries, splits, dim = parts.shape
        out = parts.new_empty(rows, queries, heads, dim)
        whole = parts.new_empty(rows, heads, queries)
        padded = 1 << (splits - 1).bit_length()
        kernel = need(self.submission, "_combine_kernel")
        kernel[(rows, heads, queries)](
            parts, lse, out, whole, *out.stride()[:3],
            D=dim, DP=16, SPLITS=splits, SP=padded, ROUND=False,
        )  # fmt: skip
        return {"output": out, **_lse(whole)}


def _apart(v):
    """The same values, further apart in memory than the keys."""
    pages, page, heads, dim = v.shape
    memory = v.new_full((pages, page + 1, heads + 1, dim), float("nan"))
    return memory[:, :page, :heads].copy_(v)


def _tidy(x, table, lens):
    """Pages with 0 where no token lies."""
    kept = x.new_zeros(x.shape)
    for row, length in enumerate(lens.tolist()):
        for token in range(length):
            at = int(table[row, token // x.shape[1]]), token % x.shape[1]
            kept[at] = x[at]
    return kept


def _lse(lse):
    """Log-sum-exp in finite numbers: which entries saw a token, and the others as 0."""
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
    def _slots(table, row, count, t_b, PAGE: tl.constexpr, stride, out):
        token = tl.arange(0, 16)
        page, place = helper(table, row, token, token < count, t_b, PAGE)
        tl.store(out + token, page * stride + place)

    @triton.jit
    def _newest(queries, kv_len, CAUSAL: tl.constexpr, out):
        query = tl.arange(0, 16)
        tl.store(out + query, helper(query, queries, kv_len, CAUSAL))

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
