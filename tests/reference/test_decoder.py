"""The decoder against two others: transformers' Qwen2 with the same weights, and plain loops in float64.

python -m pytest tests/reference/test_decoder.py -v
"""

import math

import pytest
import torch

from reference.decoder import Decoder, DecoderConfig

CONFIG = DecoderConfig(
    vocab_size=61,
    hidden_size=20,
    intermediate_size=28,
    num_layers=2,
    num_heads=6,
    num_kv_heads=2,
    head_dim=6,
    max_seq_len=96,
    rope_theta=500.0,
    rms_norm_eps=1e-5,
)


def shapes(config):
    c, heads = config, config.num_heads * config.head_dim
    shared = c.num_kv_heads * c.head_dim
    yield "model.embed_tokens.weight", (c.vocab_size, c.hidden_size)
    yield "model.norm.weight", (c.hidden_size,)
    yield "lm_head.weight", (c.vocab_size, c.hidden_size)
    for layer in range(c.num_layers):
        name = f"model.layers.{layer}"
        for part in ("input_layernorm", "post_attention_layernorm"):
            yield f"{name}.{part}.weight", (c.hidden_size,)
        for part, rows in (("q", heads), ("k", shared), ("v", shared)):
            yield f"{name}.self_attn.{part}_proj.weight", (rows, c.hidden_size)
            yield f"{name}.self_attn.{part}_proj.bias", (rows,)
        yield f"{name}.self_attn.o_proj.weight", (c.hidden_size, heads)
        for part in ("gate", "up"):
            yield f"{name}.mlp.{part}_proj.weight", (c.intermediate_size, c.hidden_size)
        yield f"{name}.mlp.down_proj.weight", (c.hidden_size, c.intermediate_size)


def random_weights(config, seed, dtype=torch.float32):
    """Random weights with the -14 and -34 in the biases that genuine checkpoints have."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(config):
        spread = shape[-1] ** -0.5 if len(shape) == 2 and "embed" not in name else 1.0
        weights[name] = torch.randn(shape, generator=generator, dtype=torch.float64) * spread
        if name.endswith("norm.weight"):
            weights[name] = 1 + 0.2 * weights[name]
    for layer in range(config.num_layers):
        weights[f"model.layers.{layer}.self_attn.q_proj.bias"][config.head_dim - 1] = -14.0
        weights[f"model.layers.{layer}.self_attn.k_proj.bias"][config.head_dim // 2 - 1] = -34.0
    return {name: value.to(dtype) for name, value in weights.items()}


def random_ids(batch, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(CONFIG.vocab_size, (batch, tokens), generator=generator)


@pytest.fixture(scope="module")
def qwen2():
    """Return transformers' Qwen2 holding given weights."""
    transformers = pytest.importorskip("transformers")

    def build(weights):
        c = CONFIG
        config = transformers.Qwen2Config(
            vocab_size=c.vocab_size,
            hidden_size=c.hidden_size,
            intermediate_size=c.intermediate_size,
            num_hidden_layers=c.num_layers,
            num_attention_heads=c.num_heads,
            num_key_value_heads=c.num_kv_heads,
            head_dim=c.head_dim,
            max_position_embeddings=c.max_seq_len,
            rms_norm_eps=c.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
            rope_theta=c.rope_theta,
            tie_word_embeddings=False,
            attn_implementation="eager",
        )
        model = transformers.Qwen2ForCausalLM(config).eval()
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not missing
        assert not unexpected
        return model

    return build


@pytest.mark.parametrize("tokens", [1, 2, 7, 24])
def test_agrees_with_transformers_at_every_step(qwen2, tokens):
    """Logits of the prompt and of 64 cached greedy steps differ by 1e-5 at most, and the tokens are equal."""
    weights = random_weights(CONFIG, seed=tokens)
    theirs, ours = qwen2(weights), Decoder(CONFIG, weights, batch_size=2)
    feed, past, picked = random_ids(2, tokens, seed=5), None, []
    for _ in range(64):
        with torch.no_grad():
            out = theirs(feed, past_key_values=past, use_cache=True)
        past = out.past_key_values
        logits = ours.forward(feed)
        assert (logits - out.logits).abs().max() <= 1e-5
        feed = out.logits[:, -1:].argmax(dim=-1)
        assert torch.equal(logits[:, -1:].argmax(dim=-1), feed)
        picked.append(feed)
    again = Decoder(CONFIG, weights, batch_size=2)
    assert torch.equal(again.generate(random_ids(2, tokens, seed=5), 64), torch.cat(picked, dim=1))


def loop_logits(config, weights, ids):
    """Logits [S, V] of one sequence, by loops over tokens, heads and keys, in float64 and without a cache."""
    weights = {name: value.double() for name, value in weights.items()}
    x = [weights["model.embed_tokens.weight"][token] for token in ids]
    for layer in range(config.num_layers):
        name = f"model.layers.{layer}"
        h = [loop_norm(row, weights[f"{name}.input_layernorm.weight"], config) for row in x]
        mixed = loop_attention(config, weights, f"{name}.self_attn", h)
        x = [
            row + weights[f"{name}.self_attn.o_proj.weight"] @ m
            for row, m in zip(x, mixed, strict=True)
        ]
        for t, row in enumerate(x):
            y = loop_norm(row, weights[f"{name}.post_attention_layernorm.weight"], config)
            gate = weights[f"{name}.mlp.gate_proj.weight"] @ y
            up = weights[f"{name}.mlp.up_proj.weight"] @ y
            x[t] = row + weights[f"{name}.mlp.down_proj.weight"] @ (
                gate / (1 + torch.exp(-gate)) * up
            )
    last = [loop_norm(row, weights["model.norm.weight"], config) for row in x]
    return torch.stack([weights["lm_head.weight"] @ row for row in last])


def loop_norm(x, weight, config):
    return x / math.sqrt(float((x * x).mean()) + config.rms_norm_eps) * weight


def loop_attention(config, weights, name, h):
    """Attention of one sequence before the output projection, one [H * D] row per token."""
    size, out = config.head_dim, []
    q, k, v = (
        [weights[f"{name}.{n}_proj.weight"] @ row + weights[f"{name}.{n}_proj.bias"] for row in h]
        for n in "qkv"
    )
    for t in range(len(h)):
        mixed = []
        for head in range(config.num_heads):
            first = head // (config.num_heads // config.num_kv_heads) * size
            query = loop_turn(q[t][head * size : (head + 1) * size], t, config)
            keys = [loop_turn(k[s][first : first + size], s, config) for s in range(t + 1)]
            scores = torch.stack([query @ key for key in keys]) / math.sqrt(size)
            shares = torch.exp(scores - scores.max())
            shares = shares / shares.sum()
            mixed.append(sum(shares[s] * v[s][first : first + size] for s in range(t + 1)))
        out.append(torch.cat(mixed))
    return out


def loop_turn(x, position, config):
    half, out = config.head_dim // 2, x.clone()
    for i in range(half):
        angle = position * config.rope_theta ** (-2 * i / config.head_dim)
        out[i] = x[i] * math.cos(angle) - x[i + half] * math.sin(angle)
        out[i + half] = x[i + half] * math.cos(angle) + x[i] * math.sin(angle)
    return out


@pytest.mark.parametrize("plan", [[9], [5, 1, 1, 2], [3, 3, 3], [1] * 9], ids=str)
def test_agrees_with_loops_in_float64(plan):
    weights = random_weights(CONFIG, seed=3, dtype=torch.float64)
    ids = random_ids(2, sum(plan), seed=8)
    model = Decoder(CONFIG, weights, batch_size=2)
    logits = torch.cat([model.forward(part) for part in ids.split(plan, dim=1)], dim=1)
    for row in range(2):
        expected = loop_logits(CONFIG, weights, ids[row].tolist())
        assert (logits[row] - expected).abs().max() <= 1e-10


def test_rows_of_unequal_length_are_independent():
    """A row restarted while others go on equals a run of its own."""
    weights = random_weights(CONFIG, seed=4, dtype=torch.float64)
    model = Decoder(CONFIG, weights, batch_size=3)
    model.forward(random_ids(3, 6, seed=1))
    model.reset([1])
    second, third = random_ids(3, 2, seed=2), random_ids(3, 1, seed=3)
    model.forward(second)
    logits = model.forward(third)
    alone = loop_logits(CONFIG, weights, [*second[1].tolist(), *third[1].tolist()])
    assert model.positions.tolist() == [9, 3, 9]
    assert (logits[1, -1] - alone[-1]).abs().max() <= 1e-10


def test_trace_counts_up():
    model = Decoder(CONFIG, random_weights(CONFIG, seed=6), batch_size=1)
    for step in range(5):
        model.forward(random_ids(1, 1, seed=step))
    assert [step["position"].tolist() for step in model.trace] == [[0], [1], [2], [3], [4]]
    assert [step["scores"].tolist() for step in model.trace] == [[[n], [n]] for n in range(1, 6)]
    for step in model.trace:
        torch.testing.assert_close(step["weight_sum"], torch.ones(2, 1))


REFUSED = {
    "negative": torch.tensor([[3, -1]]),
    "too large": torch.tensor([[CONFIG.vocab_size]]),
    "rank 1": torch.tensor([1, 2]),
    "rank 3": torch.tensor([[[1]]]),
    "no tokens": torch.zeros(1, 0, dtype=torch.int64),
    "no rows": torch.zeros(0, 2, dtype=torch.int64),
    "another batch": torch.tensor([[1], [2]]),
    "floats": torch.tensor([[1.0]]),
    "too long": torch.zeros(1, 93, dtype=torch.int64),
}


@pytest.mark.parametrize("ids", REFUSED.values(), ids=REFUSED)
def test_a_refused_call_changes_nothing(ids):
    weights = random_weights(CONFIG, seed=7)
    model, other = (Decoder(CONFIG, weights, batch_size=1) for _ in range(2))
    first, then = random_ids(1, 4, seed=1), random_ids(1, 1, seed=2)
    for decoder in (model, other):
        decoder.forward(first)
    with pytest.raises(ValueError, match=r"token|tokens"):
        model.forward(ids)
    if ids.shape != (1, 93):
        with pytest.raises(ValueError, match=r"token|tokens"):
            model.generate(ids, 2)
    assert model.positions.tolist() == [4]
    assert len(model.trace) == 1
    assert torch.equal(model.forward(then), other.forward(then))


def test_a_generation_that_does_not_fit_is_refused_before_the_reset():
    model = Decoder(CONFIG, random_weights(CONFIG, seed=8), batch_size=1)
    model.forward(random_ids(1, 3, seed=1))
    for count in (0, 94):
        with pytest.raises(ValueError, match=r"count|exceed"):
            model.generate(random_ids(1, 4, seed=2), count)
    assert model.positions.tolist() == [3]
    assert model.generate(random_ids(1, 4, seed=2), 93).shape == (1, 93)
    assert model.positions.tolist() == [96]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_its_dtype(dtype):
    weights = random_weights(CONFIG, seed=9)
    for name in weights:
        if name.endswith("proj.bias"):
            weights[name] = weights[name].clamp(-1, 1)
    exact = Decoder(CONFIG, weights, batch_size=1)
    half = Decoder(CONFIG, {name: w.to(dtype) for name, w in weights.items()}, batch_size=1)
    ids = random_ids(1, 12, seed=1)
    logits = half.forward(ids)
    assert logits.dtype == dtype
    bound = {torch.float16: 0.02, torch.bfloat16: 0.15}[dtype]
    assert (logits.float() - exact.forward(ids)).abs().max() <= bound


def test_removing_the_large_biases_makes_another_model():
    """The field report took entries such as -34 for corruption; without them the tokens differ."""
    weights = random_weights(CONFIG, seed=10)
    clipped = {
        name: w.clamp(-10, 10) if name.endswith("proj.bias") else w for name, w in weights.items()
    }
    prompt = random_ids(1, 8, seed=1)
    right = Decoder(CONFIG, weights).generate(prompt, 32)
    assert not torch.equal(right, Decoder(CONFIG, clipped).generate(prompt, 32))
