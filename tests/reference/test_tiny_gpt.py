"""The tiny GPT against transformers' GPT-2, torch.optim, quotients of differences, and itself without a cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference.tiny_gpt import GPT, IGNORED, Cache, Trainer, generate

SIZES = {"vocab_size": 11, "block_size": 9, "layers": 2, "heads": 3, "width": 12}
HOW: dict[str, Any] = {
    "lr": 0.05, "warmup": 3, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.3, "clip": 0.5
}  # fmt: skip


def made(seed: int = 0, dtype: torch.dtype = torch.float64, **sizes: int) -> GPT:
    draw = torch.Generator().manual_seed(seed)
    model = GPT(**SIZES | sizes).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) * 0.6)
    return model


def text(rows: int, tokens: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 11, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def labelled(rows: int, tokens: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Ids, and labels of which a third is not predicted."""
    ids = text(rows, tokens, seed)
    skipped = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    return ids, ids.masked_fill(skipped, IGNORED)


def as_gpt2(model: GPT) -> Any:
    """Transformers' GPT-2 with the weights of a model."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=11, n_positions=9, n_embd=12, n_layer=len(model.blocks), n_head=3,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="eager",
    )  # fmt: skip
    other = GPT2LMHeadModel(config).double()
    other.load_state_dict(
        {theirs: turned(x, theirs) for theirs, x in by_gpt2_name(model).items()}, strict=False
    )
    other.tie_weights()
    return other


def by_gpt2_name(model: GPT) -> dict[str, Tensor]:
    renamed = {}
    for name, x in model.state_dict().items():
        for ours, theirs in (
            ("tokens", "transformer.wte"), ("positions", "transformer.wpe"), ("blocks", "transformer.h"),
            ("norm1", "ln_1"), ("norm2", "ln_2"), ("attention.qkv", "attn.c_attn"), ("attention.out", "attn.c_proj"),
            ("up", "mlp.c_fc"), ("down", "mlp.c_proj"),
        ):  # fmt: skip
            name = name.replace(ours, theirs, 1)
        renamed[f"transformer.ln_f{name[4:]}" if name.startswith("norm.") else name] = x
    return renamed


def turned(x: Tensor, name: str) -> Tensor:
    """GPT-2 keeps the matrices of its branches as [in, out]."""
    return x.T if x.dim() == 2 and ".h." in name else x


def test_logits_loss_and_gradients_are_those_of_gpt2() -> None:
    model = made()
    other = as_gpt2(model)
    ids, labels = labelled(3, 9)
    answer = other(ids, labels=labels)
    torch.testing.assert_close(model(ids), answer.logits, rtol=0, atol=1e-12)
    loss = model.loss(ids, labels)
    # theirs is in float32
    assert float(loss.detach()) == pytest.approx(float(answer.loss.detach()), abs=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    F.cross_entropy(answer.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()).backward()
    theirs = dict(other.named_parameters())
    ours = by_gpt2_name(model)
    assert theirs.keys() == ours.keys()
    by_pointer = {p.data_ptr(): p.grad for p in model.parameters()}
    for name, x in ours.items():
        gradient = by_pointer[x.data_ptr()]
        assert gradient is not None
        torch.testing.assert_close(
            turned(gradient, name), theirs[name].grad, rtol=0, atol=1e-12, msg=name
        )


def test_gradients_are_the_quotients_of_differences() -> None:
    model = made()
    ids, labels = labelled(2, 7)
    model.loss(ids, labels).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, p in model.named_parameters():
            index = tuple(size // 2 for size in p.shape)
            if name == "positions.weight":
                index = (3, 1)
            before, losses = p[index].clone(), []
            for step in (1e-6, -1e-6):
                p[index] = before + step
                losses.append(float(model.loss(ids, labels)))
            p[index] = before
            assert p.grad is not None
            assert float(p.grad[index]) == pytest.approx(
                (losses[0] - losses[1]) / 2e-6, abs=1e-7
            ), name


def test_steps_are_those_of_torch_optim() -> None:
    ours, theirs = made(), made()
    trainer = Trainer(ours, **HOW)
    groups = [
        {
            "params": [p for p in theirs.parameters() if p.dim() > 1],
            "weight_decay": HOW["weight_decay"],
        },
        {"params": [p for p in theirs.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=HOW["lr"], betas=HOW["betas"], eps=HOW["eps"])
    rising = torch.optim.lr_scheduler.LambdaLR(adam, lambda done: min(1, (done + 1) / 3))
    for step in range(6):
        batches = [labelled(2, 9, seed=step), labelled(1, 4, seed=step + 50)]
        predicted = sum(int((labels[:, 1:] != IGNORED).sum()) for _, labels in batches)
        adam.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for ids, labels in batches:  # every label alone
            logits = theirs(ids)
            for row, t in (labels[:, 1:] != IGNORED).nonzero().tolist():
                total = total + F.cross_entropy(logits[row, t], labels[row, t + 1])
        (total / predicted).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), HOW["clip"])
        adam.step()
        rising.step()
        assert trainer.step(batches) == pytest.approx(float(total / predicted), abs=1e-6)
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(
                p, q, rtol=0, atol=1e-6, msg=name
            )  # torch adds 1e-6 to the norm


def test_cutting_a_batch_makes_no_difference_to_a_step() -> None:
    ids, labels = labelled(6, 8)
    whole, cut = made(), made()
    Trainer(whole, **HOW).step([(ids, labels)])
    Trainer(cut, **HOW).step(
        [(ids[:1], labels[:1]), (ids[1:4], labels[1:4]), (ids[4:], labels[4:])]
    )
    for p, q in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 3))
def test_a_cache_makes_no_difference(chunks: list[int], rows: int) -> None:
    model, cache = made(), Cache()
    ids = text(rows, min(sum(chunks), 9))
    seen: list[Tensor] = []
    for size in chunks:
        if cache.length + size > 9:
            before = cache.length
            with pytest.raises(ValueError, match="exceed"):
                model(text(rows, size), cache)
            assert cache.length == before
            continue
        beside = cache.copy()
        model(text(rows, size, seed=99), beside)
        seen.append(model(ids[:, cache.length : cache.length + size], cache))
    if seen:
        torch.testing.assert_close(
            torch.cat(seen, dim=1), model(ids[:, : cache.length]), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("prompt", [1, 4, 9, 14])
def test_generated_tokens_are_those_without_a_cache(prompt: int) -> None:
    model, ids = made(), text(3, prompt)
    tokens = ids
    for _ in range(15):
        best = model(tokens[:, -9:])[:, -1].argmax(-1)
        tokens = torch.cat((tokens, best[:, None]), dim=1)
    assert torch.equal(generate(model, ids, 15), tokens)


def test_generated_tokens_are_those_of_gpt2() -> None:
    model, ids = made(), text(2, 3)
    other = as_gpt2(model)
    tokens = other.generate(
        ids, max_new_tokens=6, do_sample=False, eos_token_id=None, attention_mask=torch.ones_like(ids),
    )  # fmt: skip
    assert torch.equal(generate(model, ids, 6), tokens)


def test_rows_end_by_themselves() -> None:
    model, told = made(), iter([[1, 2, 3], [7, 2, 3], [4, 2, 7], [5, 7, 5], [6, 6, 6]])
    ids = text(3, 2)
    tokens = generate(model, ids, 9, pick=lambda _: torch.tensor(next(told)), end=7)
    assert tokens[:, 2:].tolist() == [[1, 7, 7, 7], [2, 2, 2, 7], [3, 3, 7, 7]]
