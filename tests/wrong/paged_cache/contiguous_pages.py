"""Reads the pages as if a row's tokens lay one behind the other."""

import torch


def slots_of(table, old_lens, new_lens, S, page_size):
    first = torch.arange(len(table))[:, None] * table.shape[1] * page_size
    slots = first + old_lens[:, None].long() + torch.arange(S)
    return slots.masked_fill(torch.arange(S) >= new_lens[:, None], -1)


def append(k_pages, v_pages, k_new, v_new, slots):
    real = slots >= 0
    page, place = slots[real] // k_pages.shape[1], slots[real] % k_pages.shape[1]
    k_pages[page, place] = k_new[real]
    v_pages[page, place] = v_new[real]


def attend(
    q, k_pages, v_pages, page_table, seq_lens, q_lens=None, *, causal=True, scale=None, splits=1
):
    B, S, H, D = q.shape
    flat_k, flat_v = (x.flatten(0, 1).nan_to_num(0.0).float() for x in (k_pages, v_pages))
    out = torch.zeros_like(q)
    for row, n in enumerate(seq_lens.tolist()):
        group = H // flat_k.shape[1]
        k, v = (x[:n].repeat_interleave(group, dim=1) for x in (flat_k, flat_v))
        scores = torch.einsum("shd,nhd->hsn", q[row].float(), k) * D**-0.5
        out[row] = torch.einsum("hsn,nhd->shd", scores.softmax(-1), v).to(q.dtype)
    return out, torch.zeros(B, H, S)
