"""Tiny random models of transformers generate the same tokens with these kernels as with eager attention."""

from __future__ import annotations

import pytest
import torch

transformers = pytest.importorskip("transformers")

from kernels import transformers_client  # noqa: E402

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module", params=["Llama", "Qwen2"])
def model(request: pytest.FixtureRequest) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = getattr(transformers, f"{request.param}Config")(**SIZES)
    made = getattr(transformers, f"{request.param}ForCausalLM")(config).eval()
    transformers_client.register()
    # nearly uniform logits would make ties of honest rounding
    made.lm_head.weight.data.mul_(20)
    return made


def generate(
    model, implementation: str, ids, mask, cache: str
) -> tuple[torch.Tensor, torch.Tensor]:
    model.set_attn_implementation(implementation)
    with torch.no_grad():
        done = model.generate(
            ids, attention_mask=mask, max_new_tokens=3, min_new_tokens=3, do_sample=False,
            pad_token_id=0, cache_implementation=cache,
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    return done.sequences, torch.stack(done.logits)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("padding", [[0, 0], [0, 3]])
def test_generates_what_eager_attention_generates(model, cache, padding, monkeypatch):
    calls = []
    attend = transformers_client.attend
    monkeypatch.setattr(
        transformers_client, "attend", lambda *a, **k: (calls.append(1), attend(*a, **k))[1]
    )
    ids = torch.randint(1, 50, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, pad in enumerate(padding):
        ids[row, :pad] = mask[row, :pad] = 0
    tokens, logits = generate(model, transformers_client.NAME, ids, mask, cache)
    assert len(calls) >= 3 * SIZES["num_hidden_layers"]
    expected, expected_logits = generate(model, "eager", ids, mask, cache)
    assert torch.equal(tokens, expected)
    assert torch.allclose(logits, expected_logits, atol=2e-4)


def test_a_chunk_behind_a_cache_is_aligned_with_its_end(model):
    ids = torch.randint(1, 50, (1, 9), generator=torch.Generator().manual_seed(2))
    logits = []
    for name in (transformers_client.NAME, "eager"):
        model.set_attn_implementation(name)
        cache = transformers.DynamicCache(config=model.config)
        with torch.no_grad():
            model(ids[:, :5], past_key_values=cache)
            logits.append(model(ids[:, 5:], past_key_values=cache).logits)
    assert torch.allclose(*logits, atol=2e-4)


def test_masks_that_say_more_than_causal_and_left_padded_are_refused():
    q, k = torch.randn(1, 4, 3, 8), torch.randn(1, 2, 5, 8)
    module = torch.nn.Module().eval()
    window = torch.ones(1, 1, 3, 5, dtype=torch.bool).tril(2).triu(1)
    holes = torch.ones(1, 1, 3, 5, dtype=torch.bool).tril(2)
    holes[..., 1] = False
    for mask in (window, holes, window.float()):
        with pytest.raises(ValueError, match="attention_mask"):
            transformers_client.attention(module, q, k, k, mask)
    with pytest.raises(ValueError, match="sliding_window"):
        transformers_client.attention(module, q, k, k, None, sliding_window=4)
    with pytest.raises(ValueError, match=r"model\.eval"):
        transformers_client.attention(module.train(), q, k, k, None)
