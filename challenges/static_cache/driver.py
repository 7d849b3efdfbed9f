"""Verbs of the static_cache challenge: calls of the attention function, and of its helpers alone.

Caches are plain tensors, so the grader keeps them: a case may start from a cache of any fill, cut
it back, reorder its rows, and put anything into slots that hold no token.
"""

import typing

import numpy as np

from grader.sandbox.driverkit import Wrong, need

PARTS = ("key", "value", "seq_lens")
UNUSED = {"zeros": 0.0, "nan": float("nan"), "junk": 50.0}


class Plan:
    """Draws the tokens of each call and decides what the cache that is sent looks like."""

    def __init__(self, setup, draw):
        self.setup, self.draw = setup, draw

    def create(self):
        return {}

    def forward(self, **params):
        given = "capacity" in self.setup
        slots = {"cache_max_len": self.setup["capacity"]} if given else {}
        return {**slots, **self.attend(**params)}

    def unpack(self, fill, **params):
        return {**params, "past": self._past(fill=fill)}

    def load_tile(self, fill, unused="zeros", **params):
        past = self._past(fill=fill, unused=unused)
        return {**params, "buffer": past["value"], "seq_lens": past["seq_lens"]}

    def scores(self, queries=None, slots=None, query=None, keys=None, **params):
        s = self.setup
        if query is None:
            query = self.draw(s["batch"], s["query_heads"], queries, s["head_dim"])
            keys = self.draw(s["batch"], s["query_heads"], slots, s["head_dim"])
        return {"query": query, "keys": keys, **params}

    def fold(self, tiles=0, width=4, queries=2, scores=None, rise=0.0, hidden=None):
        b, h, d = (self.setup[name] for name in ("batch", "query_heads", "head_dim"))
        if scores is None:
            steps = rise * np.arange(tiles).reshape(tiles, 1, 1, 1, 1)
            scores = self.draw(tiles, b, h, queries, width) + steps
        values = self.draw(scores.shape[0], b, h, scores.shape[-1], d)
        return {"scores": scores, "values": values, "hidden": hidden or []}

    def attend(self, tokens=1, query=None, key=None, value=None, spread=1.0, **params):
        s = self.setup
        wanted = {"query": query, "key": key, "value": value}
        made = {"past": self._past(**{k: params.pop(k) for k in tuple(params) if k in FOR_PAST})}
        for name, given in wanted.items():
            heads = s["query_heads" if name == "query" else "kv_heads"]
            size = 1.0 if name == "value" else spread
            drawn = self.draw(s["batch"], heads, tokens, s["head_dim"], scale=size)
            made[name] = drawn if given is None else given
        return {**made, **params}

    append = write = check_cache = handed_back = attend

    def _past(self, cache=None, fill=None, unused="zeros", rows=None, rewind=0):
        s = self.setup
        if cache is not None:
            kept = self.saved[cache]["cache"]
            key, value = (kept[name].values.astype(np.float64) for name in PARTS[:2])
            lens = kept["seq_lens"].values.astype(np.int32)
        elif fill is not None:
            shape = (s["batch"], s["kv_heads"], s["capacity"], s["head_dim"])
            key, value, lens = self.draw(*shape), self.draw(*shape), np.array(fill, np.int32)
        else:
            return None
        order = np.arange(len(lens)) if rows is None else np.array(rows, np.int64)
        key, value, lens = key[order], value[order], lens[order] - np.int32(rewind)
        beyond = np.arange(key.shape[2]) >= lens[:, None]
        blank = beyond[:, None, :, None]
        key, value = (np.where(blank, UNUSED[unused], x) for x in (key, value))
        return {"key": key, "value": value, "seq_lens": lens}


FOR_PAST = {"cache", "fill", "unused", "rows", "rewind"}


class Verbs:
    """Calls the submission; what it leaves in slots that hold no token is its own affair."""

    # whose memory an append writes to is for `write` alone to see
    MAY_CHANGE: typing.ClassVar = {"append": {"past"}}

    def __init__(self, submission):
        self.submission = submission

    def create(self, *, dtype):
        return {}

    def forward(self, *, query, key, value, past, strided=False, spoil=None, **options):
        function = need(self.submission, "attention_with_kv_cache")
        old = None if past is None else tuple(past[name] for name in PARTS)
        if strided:
            query, key, value = (
                x.transpose(1, 2).contiguous().transpose(1, 2) for x in (query, key, value)
            )
        tokens = {"query": query, "key": key, "value": value, "past": old}
        if spoil:
            SPOILED[spoil](tokens)
        answer = function(*tokens.values(), **options)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise Wrong("wrong_value", "attention_with_kv_cache must return (output, cache)")
        added = tokens["key"].shape[2] if options.get("update_cache", True) else 0
        return {"output": answer[0], "cache": _tidy(answer[1], old, key, added)}

    def attend(self, *, query, past, scale=1.0, is_causal=False, **_):
        cache = tuple(past[name] for name in PARTS)
        return {"output": need(self.submission, "_attend")(query, cache, scale, is_causal)}

    def append(self, *, key, value, past, lengths_only=False, **_):
        old = tuple(past[name] for name in PARTS)
        cache = _tidy(need(self.submission, "_append")(old, key, value), old, key, key.shape[2])
        return {"seq_lens": cache["seq_lens"]} if lengths_only else {"cache": cache}

    def write(self, *, key, past, **_):
        buffer, _, seq_lens = (past[name] for name in PARTS)
        grown = need(self.submission, "_write")(buffer, key, seq_lens)
        return {"buffer": _blanked(grown, seq_lens + key.shape[2])}

    def handed_back(self, *, key, value, past, update_cache, **_):
        old = tuple(past[name] for name in PARTS)
        grown = (old[0] + 1, old[1] + 1, old[2] + key.shape[2])
        back = need(self.submission, "_handed_back")(old, grown, update_cache)
        return {"cache": dict(zip(PARTS, back, strict=True))}

    def unpack(self, *, past, spoil=None):
        tokens = {"past": tuple(past[name] for name in PARTS)}
        if spoil:
            SPOILED[spoil](tokens)
        return dict(zip(PARTS, need(self.submission, "_unpack")(tokens["past"]), strict=True))

    def check_cache(self, *, key, past, spoil=None, **_):
        tokens = {"key": key, "past": tuple(past[name] for name in PARTS)}
        if spoil:
            SPOILED[spoil](tokens)
        need(self.submission, "_check_cache")(tokens["past"], tokens["key"])
        return {}

    def slots(self, *, seq_lens, added):
        return {"slots": need(self.submission, "_slots")(seq_lens, added)}

    def scale_for(self, *, scale, head_dim):
        return {"factor": float(need(self.submission, "_scale_for")(scale, head_dim))}

    def kv_heads_of(self, *, query_heads, kv_heads):
        return {"heads": need(self.submission, "_kv_heads_of")(query_heads, kv_heads)}

    def longest(self, *, seq_lens):
        return {"length": need(self.submission, "_longest")(seq_lens)}

    def tile_starts(self, *, length):
        return {"starts": list(need(self.submission, "_tile_starts")(length))}

    def load_tile(self, *, buffer, first, seq_lens):
        return {"tile": need(self.submission, "_load_tile")(buffer, first, seq_lens)}

    def visible(self, *, seq_lens, queries, first, width, masks_future):
        helper = need(self.submission, "_visible")
        return {"visible": helper(seq_lens, queries, first, width, masks_future)}

    def newest_visible(self, *, seq_lens, queries):
        return {"newest": need(self.submission, "_newest_visible")(seq_lens, queries)}

    def scores(self, *, query, keys, scale):
        return {"scores": need(self.submission, "_scores")(query, keys, scale)}

    def fold(self, *, scores, values, hidden):
        start, fold, finish = (need(self.submission, n) for n in ("_start", "_fold", "_finish"))
        state = start(values.new_zeros(*scores.shape[1:4], values.shape[-1]))
        for i in range(len(scores)):
            tile = scores[i].to(state[0].dtype).clone()
            lanes = hidden[i] if i < len(hidden) else 0
            tile[..., tile.shape[-1] - lanes :] = float("-inf")
            state = fold(state, tile, values[i])
        return {"output": finish(state, values.dtype)}


def _tidy(cache, old, key, added):
    if not isinstance(cache, (tuple, list)) or len(cache) != 3:
        raise Wrong("wrong_value", "the returned cache must be (K_cache, V_cache, seq_lens)")
    lens = added + (old[2].long() if old else key.new_zeros(len(key)).long())
    return {name: _blanked(part, lens) for name, part in zip(PARTS, cache, strict=True)}


def _blanked(part, lens):
    shape = getattr(part, "shape", ())
    if len(shape) != 4 or shape[0] != len(lens):
        return part
    used = lens.new_ones(shape[2]).cumsum(0) <= lens[:, None]
    return part.masked_fill(~used[:, None, :, None], 0.0)


def _past(change):
    return lambda t: t.update(past=change(*t["past"]))


def _each(change, *names):
    return lambda t: t.update({name: change(t[name]) for name in names})


SPOILED = {
    "two_parts": _past(lambda k, v, n: (k, v)),
    "a_number": lambda t: t.update(past=3),
    "listed_lengths": _past(lambda k, v, n: (k, v, n.tolist())),
    "int64_lengths": _past(lambda k, v, n: (k, v, n.long())),
    "one_length": _past(lambda k, v, n: (k, v, n[:1])),
    "negative_length": _past(lambda k, v, n: (k, v, n - n.max() - 1)),
    "half_cache": _past(lambda k, v, n: (k.half(), v.half(), n)),
    "cache_with_more_heads": _past(lambda k, v, n: (k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1), n)),
    "cache_of_one_row": _past(lambda k, v, n: (k[:1], v[:1], n[:1])),
    "short_value_cache": _past(lambda k, v, n: (k, v[:, :, :-1], n)),
    "flat_query": _each(lambda x: x[0], "query"),
    "half_key": _each(lambda x: x.half(), "key"),
    "integer_tokens": _each(lambda x: x.long(), "query", "key", "value"),
    "short_value": _each(lambda x: x[:, :, :-1], "value"),
    "fewer_new_keys": _each(lambda x: x[:, :, :-1], "key", "value"),
    "uneven_heads": _each(lambda x: x[:, :-1], "query"),
}
