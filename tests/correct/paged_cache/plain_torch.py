"""The paged cache in plain PyTorch: rows are gathered from their pages, one after the other."""

import torch


def slots_of(table, old_lens, new_lens, S, page_size):
    slots = torch.full((len(table), S), -1, dtype=torch.int64, device=table.device)
    for row, (old, new) in enumerate(zip(old_lens.tolist(), new_lens.tolist(), strict=True)):
        for i in range(new):
            page, place = divmod(old + i, page_size)
            slots[row, i] = int(table[row, page]) * page_size + place
    return slots


def append(k_pages, v_pages, k_new, v_new, slots):
    real = slots >= 0
    page, place = slots[real] // k_pages.shape[1], slots[real] % k_pages.shape[1]
    k_pages[page, place] = k_new[real]
    v_pages[page, place] = v_new[real]


def attend(
    q, k_pages, v_pages, page_table, seq_lens, q_lens=None, *, causal=True, scale=None, splits=1
):
    B, S, H, D = q.shape
    size, group = k_pages.shape[1], H // k_pages.shape[2]
    scale = D**-0.5 if scale is None else scale
    out, lse = torch.zeros_like(q), q.new_full((B, H, S), float("-inf"), dtype=torch.float32)
    for row, n in enumerate(seq_lens.tolist()):
        m = S if q_lens is None else int(q_lens[row])
        token = torch.arange(n, device=q.device)
        page = page_table[row].long()[token // size]
        keys, values = (
            x[page, token % size].float().repeat_interleave(group, dim=1)
            for x in (k_pages, v_pages)
        )
        scores = torch.einsum("shd,nhd->hsn", q[row, :m].float(), keys) * scale
        if causal:
            newest = torch.arange(m, device=q.device)[:, None] + n - m
            scores = scores.masked_fill(token > newest, float("-inf"))
        lse[row, :, :m] = scores.logsumexp(-1)
        weights = scores.softmax(-1).nan_to_num(0.0)
        out[row, :m] = torch.einsum("hsn,nhd->shd", weights, values).to(q.dtype)
    return out, lse
