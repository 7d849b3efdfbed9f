"""The verbs of this challenge: what a case may ask of a KV-cached multi-head attention.

`Plan` decides what is sent; `Verbs` makes the call beside the submission. Neither knows what is right.
"""

# ruff: noqa: RUF012 - each verb is described in verbs.schema.json
from __future__ import annotations

from collections.abc import Mapping

from grader.kit import Wrong, need

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")
OPTIONS = ("d_model", "num_heads", "max_cache_len", "dropout")


class Plan:
    """Sizes come from the case's `setup`, numbers from `draw`; `saved` holds earlier answers."""

    STATELESS = True  # no method keeps anything for another

    def __init__(self, setup, draw):
        self.setup, self.draw, self.saved = setup, draw, {}
        self.C, self.H = setup["d_model"], setup["num_heads"]
        self.D = self.C // self.H

    def create(self):
        near = self.C**-0.5
        loud = self.setup.get("logits", 1)  # the queries, and so the scores, are that much larger
        weights = {
            name: {
                "weight": self.draw(self.C, self.C, scale=near * (loud if name == "q_proj" else 1)),
                "bias": self.draw(self.C, scale=0.5 * (loud if name == "q_proj" else 1)),
            }
            for name in PROJECTIONS
        }
        options = {name: self.setup[name] for name in OPTIONS if name in self.setup}
        return {"options": options, "weights": weights}

    def forward(self, *, tokens, cache=None, same=False, **options):
        inputs = {"query": self._tokens(tokens)}
        if not same:
            inputs |= {"key": self._tokens(tokens), "value": self._tokens(tokens)}
        return {**inputs, "cache": self._cache(cache), **options}

    def after_reset(self, *, tokens):
        return {name: self._tokens(tokens) for name in ("query", "key", "value")}

    def info(self, *, cache=None, **options):
        return {"cache": self._cache(cache), **options}

    def validate(self, *, query, key, value):
        return {"query": self.draw(*query), "key": self.draw(*key), "value": self.draw(*value)}

    def split(self, *, tokens):
        return {"x": self._tokens(tokens)}

    def merge(self, *, tokens):
        return {"x": self._heads(tokens)}

    def scores(self, *, tokens, past=0):
        return {"Q": self._heads(tokens), "K": self._heads(past + tokens)}

    def mask(self, *, tokens, past=0, scale=1.0, negative=False):
        scores = self._scores(tokens, past, scale)
        return {
            "scores": -abs(scores) if negative else scores,
            "seq_len": tokens,
            "cache_len": past,
        }

    def weigh(self, *, tokens, past=0, scale=1.0, training=False):
        return {"scores": self._scores(tokens, past, scale), "training": training}

    def project(self, *, tokens):
        return {name: self._tokens(tokens) for name in ("query", "key", "value")}

    def extend(self, *, tokens, cache=None):
        return {"cache": self._cache(cache), "k": self._tokens(tokens), "v": self._tokens(tokens)}

    def pack(self, *, tokens):
        return {name: self._tokens(tokens) for name in ("K", "V", "K_next", "V_next")}

    def refuse(self, *, tokens):
        return {"K": self._tokens(tokens)}

    def attend(self, *, tokens, past=0, causal=True):
        both = self._tokens(past + tokens), self._tokens(past + tokens)
        return {"Q": self._tokens(tokens), "K": both[0], "V": both[1], "causal": causal}

    def _tokens(self, count):
        return self.draw(self.setup["batch"], count, self.C)

    def _heads(self, count):
        return self.draw(self.setup["batch"], self.H, count, self.D)

    def _scores(self, tokens, past, scale):
        return self.draw(self.setup["batch"], self.H, tokens, past + tokens, scale=scale)

    def _cache(self, wanted):
        """Return the cache of an earlier step, cut to `keep` tokens; one never seen before; or an empty one."""
        if wanted is None:
            return None
        if "random" in wanted:
            return {"key": self._tokens(wanted["random"]), "value": self._tokens(wanted["random"])}
        if "of" not in wanted:
            return {"key": None, "value": None}
        saved = self.saved[wanted["of"]]["cache"]
        return {name: saved[name].values[:, : wanted.get("keep")] for name in ("key", "value")}


class Verbs:
    """Makes the calls and returns what came back, as plain tensors."""

    # a file may work on its own scores in place; the weights it never sees
    MAY_CHANGE = {
        "create": {"weights"},
        "scores": {"Q", "K"},
        "mask": {"scores"},
        "weigh": {"scores"},
    }

    def __init__(self, submission):
        self.submission = submission

    def create(self, *, dtype, options, weights):
        import torch

        torch.set_grad_enabled(False)
        self.torch, self.dtype = torch, getattr(torch, dtype)
        self.options, self.weights = options, weights
        self.modules = []
        self._module(0)
        return {"ready": True}

    def describe(self):
        rate = getattr(need(self._module(0), "dropout"), "p", None)
        return {"dropout": None if rate is None else float(rate)}

    def forward(self, *, query, cache, key=None, value=None, live=None, call="mixed", **how):
        """Call the module; `how`: causal, training, instance, dtype (of the whole module, for this call)."""
        module = self._module(how.get("instance", 0))
        if module.training != how.get("training", False):
            module.train(not module.training)
        other = getattr(self.torch, how["dtype"]) if "dtype" in how else self.dtype
        cache = live if live is not None else self._cast(cache, other)
        inputs = [x if x is None else x.to(other) for x in (query, key, value)]
        inputs = [inputs[0] if x is None else x for x in inputs]
        named = {"cache": cache, "use_causal_mask": how.get("causal")}
        if call == "positional":
            inputs, named = [*inputs, cache, how.get("causal", True)], {}
        if call == "keywords":
            inputs, named = [], dict(zip(("query", "key", "value"), inputs, strict=True)) | named
        named = {name: x for name, x in named.items() if x is not None}

        if "dtype" in how:
            module.to(other)
        answer = self._answer(self._leaving(cache, lambda: module(*inputs, **named)))
        if "dtype" in how:
            module.to(self.dtype)
            parts = [answer["output"], *answer["cache"].values()]
            answer = {**self._cast(answer, self.dtype), "dtypes": [str(x.dtype) for x in parts]}
        return answer

    def after_reset(self, *, query, key, value):
        made = self._helper("reset_cache")()
        cache = made if isinstance(made, Mapping) else None
        return self._answer(self._module(0)(query, key, value, cache=cache))

    def look(self, *, live):
        return self._cache(live)

    def info(self, *, cache, live=None, **options):
        cache = cache if live is None else live
        made = self._helper("get_cache_info")(cache, **options)
        held = [x for x in (cache or {}).values() if x is not None]
        size = sum(x.numel() * x.element_size() for x in held)
        told = float(_entry(made, "cache_size_mb", "the answer of `get_cache_info`"))
        # a file may round to two decimals, and may count in units of 2**20 or of 10**6 bytes
        close = any(abs(told - size / unit) < 0.006 for unit in (2**20, 10**6))
        return {
            "cache_length": int(_entry(made, "cache_length", "the answer of `get_cache_info`")),
            "cache_size_mb": size / 2**20 if close else told,
            "is_full": bool(_entry(made, "is_full", "the answer of `get_cache_info`")),
        }

    def positions(self, *, tokens, cached):
        made = self.torch.as_tensor(need(self.submission, "compute_position_ids")(tokens, cached))
        if made.is_floating_point():
            raise Wrong("wrong_dtype", "position ids are integers, and these are floating-point")
        return {"positions": made.reshape(-1).to(self.torch.int64)}

    def validate(self, *, query, key, value):
        need(self.submission, "validate_inputs")(query, key, value)
        return {"accepted": True}

    def sample(self, *, batch, tokens, d_model, seed):
        make = need(self.submission, "create_sample_input")
        first, again, other = (
            self._all(make(batch, tokens, d_model, seed=s)) for s in (seed, seed, seed + 1)
        )
        free = self._all(make(batch, tokens, d_model))
        return {
            "shapes_right": all(list(x.shape) == [batch, tokens, d_model] for x in [*first, *free]),
            "same_seed_same_numbers": all(map(self.torch.equal, first, again)),
            "other_seed_other_numbers": not any(map(self.torch.equal, first, other)),
        }

    def split(self, *, x):
        return {"heads": _tensor(self._helper("_split_heads")(x), "`_split_heads`")}

    def merge(self, *, x):
        return {"merged": _tensor(self._helper("_merge_heads")(x), "`_merge_heads`")}

    def scores(self, *, Q, K):
        made = self._helper("_compute_attention_scores")(Q, K)
        return {"scores": _tensor(made, "`_compute_attention_scores`")}

    def mask(self, *, scores, seq_len, cache_len):
        """Judge the masked scores by the weights they give: the value that hides a score is free."""
        made = self._helper("_apply_causal_mask")(scores, seq_len, cache_len)
        return {"weights": self.torch.softmax(_tensor(made, "`_apply_causal_mask`"), dim=-1)}

    def weigh(self, *, scores, training):
        self._module(0).train(training)
        return {
            "weights": _tensor(self._helper("_weights_over_keys")(scores), "`_weights_over_keys`")
        }

    def project(self, *, query, key, value):
        made = self._helper("_project_inputs")(query, key, value)
        return {name: _tensor(x, name) for name, x in zip("QKV", made, strict=True)}

    def extend(self, *, cache, k, v):
        K, V, new = self._leaving(cache, lambda: self._helper("_extend_history")(cache, k, v))
        return {"K": _tensor(K, "K"), "V": _tensor(V, "V"), "cache": self._cache(new)}

    def pack(self, *, K, V, K_next, V_next):
        pack = self._helper("_pack_cache")
        first, second = pack(K, V), pack(K_next, V_next)
        return {"first": self._cache(first), "second": self._cache(second)}

    def refuse(self, *, K):
        self._helper("_refuse_overflow")(K)
        return {"accepted": True}

    def attend(self, *, Q, K, V, causal):
        return {
            "context": _tensor(self._helper("_attend_heads")(Q, K, V, causal), "`_attend_heads`")
        }

    def _helper(self, name):
        return need(
            self._module(0).eval() if name != "_weights_over_keys" else self._module(0), name
        )

    def _module(self, index):
        """Return one of the case's instances; all are built with the same weights."""
        while len(self.modules) <= index:
            made = need(self.submission, "KVCachedMultiHeadAttention")(**self.options)
            if any(x.dtype != self.dtype for x in (*made.parameters(), *made.buffers())):
                made.to(self.dtype)
            made.eval()
            for name, parts in self.weights.items():
                for part, given in parts.items():
                    own = getattr(need(made, name), part, None)
                    if own is None or own.shape != given.shape:
                        raise Wrong(
                            "missing", f"`{name}.{part}` must be a parameter {[*given.shape]}"
                        )
                    own.copy_(given)
            self.modules.append(made)
        return self.modules[index]

    def _leaving(self, cache, call):
        """Make a call that must leave the entries of `cache` as they are."""
        before = {} if cache is None else {name: cache[name] for name in ("key", "value")}
        result = call()
        for name, entry in before.items():
            if cache[name] is not entry:
                raise Wrong("mutated_input", f"the call replaced `{name}` in the cache passed in")
        return result

    def _answer(self, result):
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise Wrong("missing", "`forward` must return two things: (output, new_cache)")
        self.returned = result[1]
        return {"output": _tensor(result[0], "the output"), "cache": self._cache(result[1])}

    def _cache(self, cache):
        parts = {name: _entry(cache, name, "the returned cache") for name in ("key", "value")}
        for name, part in parts.items():
            if _tensor(part, f"`{name}` of the returned cache").dim() == 4:
                shape = (
                    f"the returned cache keeps `{name}` as {[*part.shape]}, with its heads split"
                )
                raise Wrong("wrong_shape", f"{shape}; [B, tokens, d_model] is expected")
        return parts

    def _cast(self, item, dtype):
        if isinstance(item, Mapping):
            return {name: self._cast(part, dtype) for name, part in item.items()}
        return item if item is None else item.to(dtype)

    def _all(self, made):
        """`create_sample_input` may return one tensor or several."""
        return (
            [made]
            if isinstance(made, self.torch.Tensor)
            else [_tensor(x, "a sample input") for x in made]
        )


def _entry(mapping, name, what):
    try:
        return mapping[name]
    except (KeyError, TypeError, IndexError):
        raise Wrong("missing", f"{what} has no {name!r}") from None


def _tensor(value, what):
    if value is None:
        raise Wrong("missing", f"{what} is None; is a `return` missing?")
    if not hasattr(value, "dtype"):
        raise Wrong("missing", f"{what} is {type(value).__name__}, not a tensor")
    return value
