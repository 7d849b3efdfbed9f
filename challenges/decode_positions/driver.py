"""Verbs of the decode_positions challenge: a decoder object that keeps its own state.

It knows the public names of the file and, for unit cases, the helpers; not how a submission stores its cache.
"""

from grader.sandbox.driverkit import Wrong, need

SIZES = {
    "vocab_size": 37, "hidden_size": 20, "intermediate_size": 28, "num_layers": 2, "num_heads": 6,
    "num_kv_heads": 2, "head_dim": 6, "max_seq_len": 16, "rope_theta": 500.0, "rms_norm_eps": 1e-5,
}  # fmt: skip
DEFAULTS = ("rope_theta", "rms_norm_eps")


class Plan:
    """Draws weights by the names of a Qwen2 checkpoint, and token ids."""

    def __init__(self, setup, draw):
        self.setup, self.draw = setup, draw
        self.config = {name: setup.get(name, size) for name, size in SIZES.items()}
        self.batch = setup.get("batch_size", 1)
        self.depth, self.dim = self.config["num_layers"], self.config["head_dim"]

    def create(self):
        c = self.config
        loud = self.setup.get("embedding_scale", 1)
        embeddings = self.draw(c["vocab_size"], c["hidden_size"], scale=loud)
        weights = {"model.embed_tokens.weight": embeddings}
        for layer in range(self.depth):
            self._layer(weights, f"model.layers.{layer}")
        weights["model.norm.weight"] = 1 + self.draw(c["hidden_size"], scale=0.2)
        head = self.draw(c["vocab_size"], c["hidden_size"], scale=c["hidden_size"] ** -0.5)
        weights["lm_head.weight"] = head
        if self.setup.get("defaults"):
            given = {name: size for name, size in c.items() if name not in DEFAULTS}
            return {"config": given, "weights": weights}
        return {"config": c, "batch_size": self.batch, "weights": weights}

    def _layer(self, weights, name):
        hidden, inner = self.config["hidden_size"], self.config["intermediate_size"]
        heads, shared = (self.config[n] * self.dim for n in ("num_heads", "num_kv_heads"))
        linear = {"self_attn.q_proj": (heads, hidden), "self_attn.k_proj": (shared, hidden)}
        linear |= {"self_attn.v_proj": (shared, hidden), "self_attn.o_proj": (hidden, heads)}
        linear |= {"mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden)}
        linear |= {"mlp.down_proj": (hidden, inner)}
        for part, (rows, columns) in linear.items():
            gain = 2.0 if part[-6:] in ("q_proj", "k_proj") else 1.0
            weights[f"{name}.{part}.weight"] = self.draw(rows, columns, scale=gain * columns**-0.5)
        for part, rows in (("q", heads), ("k", shared), ("v", shared)):
            weights[f"{name}.self_attn.{part}_proj.bias"] = self.draw(rows, scale=0.5)
        if self.setup.get("outliers", True):
            # genuine Qwen2 checkpoints have such entries, on the slowest of the rotated pairs
            weights[f"{name}.self_attn.q_proj.bias"][self.dim - 1] = -14.0
            weights[f"{name}.self_attn.k_proj.bias"][self.dim // 2 - 1] = -34.0
        for part in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{name}.{part}.weight"] = 1 + self.draw(hidden, scale=0.2)

    def _ids(self, tokens):
        drawn = isinstance(tokens, int)
        return (
            self.draw.integers(0, self.config["vocab_size"], self.batch, tokens)
            if drawn
            else tokens
        )

    def forward(self, tokens):
        return {"token_ids": self._ids(tokens)}

    check_tokens = twin = forward

    def generate(self, prompt, count):
        return {"prompt": self._ids(prompt), "count": count}

    def rotate(self, tokens):
        half = (self.batch, 1, tokens, self.dim)
        x = self.draw(self.batch, 2, tokens, self.dim)
        return {"x": x, "cos": self.draw(*half), "sin": self.draw(*half)}

    def project(self, layer, positions):
        x = self.draw(*positions.shape, self.config["hidden_size"])
        return {"x": x, "layer": layer, "positions": positions}

    def update(self, layer, positions):
        batch, tokens = positions.shape
        shape = (batch, self.config["num_kv_heads"], tokens, self.dim)
        drawn = {"k": self.draw(*shape), "v": self.draw(*shape)}
        return {"layer": layer, **drawn, "positions": positions}

    def attend(self, visible):
        batch, tokens, slots = visible.shape
        q = self.draw(batch, self.config["num_heads"], tokens, self.dim, scale=2.0)
        shape = (batch, self.config["num_kv_heads"], slots, self.dim)
        return {"q": q, "k": self.draw(*shape), "v": self.draw(*shape), "visible": visible}

    def merge_heads(self, tokens):
        return {"x": self.draw(self.batch, self.config["num_heads"], tokens, self.dim)}

    def pick(self, tokens):
        return {"logits": self.draw(self.batch, tokens, self.config["vocab_size"])}


class Verbs:
    """Calls a decoder; a unit verb is the helper of that name, called with the drawn arguments."""

    def __init__(self, submission):
        self.config, self.decoder = need(submission, "DecoderConfig"), need(submission, "Decoder")

    def create(self, *, dtype, config, weights, **size):
        self.make = lambda: self.decoder(self.config(**config), weights, **size)
        self.model, self.second = self.make(), None
        self.dtype = weights["model.embed_tokens.weight"].dtype
        return {"positions": self._positions()}

    def _positions(self):
        return integers(need(self.model, "positions"))

    def forward(self, token_ids):
        logits = given("forward", need(self.model, "forward")(token_ids))
        return {"logits": logits, "positions": self._positions()}

    def twin(self, token_ids):
        self.second = self.make() if self.second is None else self.second
        return {"logits": given("forward", need(self.second, "forward")(token_ids))}

    def generate(self, prompt, count):
        tokens = given("generate", need(self.model, "generate")(prompt, count))
        return {"tokens": tokens, "positions": self._positions()}

    def reset(self, rows=None):
        need(self.model, "reset")(*([] if rows is None else [rows]))
        return {"positions": self._positions()}

    def trace(self):
        steps = {"length": len(need(self.model, "trace"))}
        for index, step in enumerate(self.model.trace):
            for name in ("position", "scores", "weight_sum"):
                if not isinstance(step, dict) or name not in step:
                    raise Wrong("missing", f"`trace[{index}]` has no {name!r}")
            sums = stacked(step["weight_sum"]).to(self.dtype)
            entry = {"position": integers(step["position"]), "scores": integers(step["scores"])}
            steps[str(index)] = {**entry, "weight_sum": sums}
        return steps

    def advance(self, count):
        need(self.model, "_advance")(count)
        return {"positions": self._positions()}

    def read_then_advance(self, count):
        before = given("_read_positions", need(self.model, "_read_positions")())
        need(self.model, "_advance")(count)
        return {"before": before}

    def inv_freq(self):
        return {"inv_freq": need(self.model, "_inv_freq")(self.dtype)}

    def check_tokens(self, token_ids):
        need(self.model, "_check_tokens")(token_ids)
        return {"accepted": True}

    def check_room(self, fed, count):
        need(self.model, "_check_room")(fed, count)
        return {"accepted": True}

    def __getattr__(self, name):
        """Any other verb is a helper's own name without its underscore."""
        if name not in OUTPUTS:
            raise AttributeError(name)
        helper, outputs = need(self.model, f"_{name}"), OUTPUTS[name]

        def call(**args):
            answer = given(f"_{name}", helper(**args))
            parts = answer if len(outputs) > 1 else (answer,)
            if not isinstance(parts, tuple) or len(parts) != len(outputs):
                raise Wrong("missing", f"`_{name}` must return {', '.join(outputs)}")
            return dict(zip(outputs, parts, strict=True))

        return call


OUTPUTS = {
    "token_positions": ["positions"], "slots_needed": ["slots"], "project": ["q", "k", "v"],
    "merge_heads": ["merged"], "rope_at": ["cos", "sin"], "rotate": ["rotated"],
    "slots": ["slots"], "update": ["keys", "values"], "visible": ["visible"],
    "map_heads": ["kv_head"], "attend": ["mixed", "weights"], "pick": ["token"],
}  # fmt: skip


def given(name, value):
    """Return `value`, or say that the method forgot to return one."""
    if value is None:
        raise Wrong("missing", f"`{name}` returned None; is a `return` missing?")
    return value


def stacked(value):
    """Make one tensor of a number, a tensor, or a list of them."""
    import torch

    if isinstance(value, list | tuple):
        return torch.stack([stacked(item) for item in value])
    return torch.as_tensor(value)


def integers(value):
    """The same as int64: counters may be kept as lists of numbers or as tensors."""
    import torch

    return stacked(value).to(torch.int64)
