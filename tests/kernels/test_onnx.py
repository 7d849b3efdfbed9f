"""ONNX's own cases of its Attention operator, a source of truth that is not ours.

In scope is every case of what these kernels do: with past keys or without, grouped heads, causal,
lengths shorter than the buffer, rows that see nothing. Masks, windows, soft caps and the scores as an output are
not. ONNX generates the cases since release 1.23 with the alignment of causal masks that we use.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

onnx = pytest.importorskip("onnx", minversion="1.23")
node = pytest.importorskip("onnx.backend.test.case.node")

from kernels.attention import attention_with_kv_cache  # noqa: E402
from kernels.cache import KVCache  # noqa: E402

INPUTS = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]
SUPPORTED = {"is_causal", "scale", "q_num_heads", "kv_num_heads"}
UNIT = {torch.float32: 0.0, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}  # of rounding


class Case:
    """A case of the operator with its inputs and outputs by name."""

    def __init__(self, case: object) -> None:
        call = case.model.graph.node[0]
        inputs, outputs = case.data_sets[0]
        self.name = case.name
        self.rtol, self.atol = case.rtol, case.atol
        self.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in call.attribute}
        given = [name for name, used in zip(INPUTS, call.input, strict=False) if used]
        self.inputs = {name: tensor(x) for name, x in zip(given, inputs, strict=True)}
        self.outputs = dict(zip([x for x in call.output if x], map(tensor, outputs), strict=True))

    def in_scope(self) -> bool:
        windows = (self.attributes.get(f"{side}_window_size", -1) for side in ("left", "right"))
        others = set(self.attributes) - SUPPORTED - {"left_window_size", "right_window_size"}
        return (
            not others
            and all(size == -1 for size in windows)
            and "attn_mask" not in self.inputs
            and "qk_matmul_output" not in self.outputs
        )

    def run(self) -> dict[str, Tensor]:
        heads = self.attributes.get("q_num_heads"), self.attributes.get("kv_num_heads")
        q = tokens_first(self.inputs["Q"], heads[0])
        k, v = (tokens_first(self.inputs[name], heads[1]) for name in ("K", "V"))
        D, D_v = q.shape[-1], v.shape[-1]
        scale = self.attributes.get("scale", D**-0.5)
        # zeros at the end of a head change no score
        q, k, v = (widened(x, max(D, D_v)) for x in (q, k, v))
        B, S, _, width = q.shape
        causal = bool(self.attributes.get("is_causal", 0))
        cache = KVCache(B, 40, k.shape[2], width, dtype=q.dtype)
        lens = q_lens = None
        if "past_key" in self.inputs:
            past = (self.inputs[name].transpose(1, 2) for name in ("past_key", "past_value"))
            cache.append(*(widened(x, width) for x in past))
        elif "nonpad_kv_seqlen" in self.inputs:
            lens, q_lens = self.inputs["nonpad_kv_seqlen"], S
        elif causal:
            # without a past, query i is token i, whatever lies behind it
            lens, q_lens = S, S
        out = attention_with_kv_cache(
            q, k, v, cache, causal=causal, scale=scale, new_lens=lens, q_lens=q_lens
        )
        out = out[..., :D_v].transpose(1, 2)
        if heads[0]:
            out = out.transpose(1, 2).flatten(2)
        filled = cache.lens[0]
        present = (x[:, :filled].transpose(1, 2) for x in (cache.k[..., :D], cache.v[..., :D_v]))
        return {"Y": out} | dict(zip(("present_key", "present_value"), present, strict=True))


def tensor(x: np.ndarray) -> Tensor:
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.array(x))


def tokens_first(x: Tensor, heads: int | None) -> Tensor:
    """[B, H, S, D], or [B, S, H * D] if the number of heads is given, as [B, S, H, D]."""
    return x.unflatten(2, (heads, -1)) if heads else x.transpose(1, 2)


def widened(x: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, width - x.shape[-1])).contiguous()


def test_all_cases_in_scope(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = node.collect_testcases("Attention")
    cases = [Case(case) for case in collected if not case.name.endswith("_expanded")]
    chosen = [case for case in cases if case.in_scope()]
    wrong = {}
    for case in chosen:
        got = case.run()
        for name, expected in case.outputs.items():
            rtol = case.rtol + UNIT[expected.dtype]
            atol = case.atol + UNIT[expected.dtype]
            if got[name].shape != expected.shape or got[name].dtype != expected.dtype:
                wrong[case.name] = f"{name}: {got[name].dtype} {list(got[name].shape)}"
            elif not torch.allclose(got[name], expected, rtol=rtol, atol=atol):
                wrong[case.name] = f"{name}: {(got[name] - expected).abs().max():.2e}"
    with capsys.disabled():
        print(
            f"\nONNX {onnx.__version__} Attention: {len(cases)} cases, {len(chosen)} in scope, "
            f"{len(chosen) - len(wrong)} passed"
        )
    assert len(chosen) >= 29
    assert not wrong
