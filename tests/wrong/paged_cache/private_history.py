"""Right on a conversation, but it keeps the history itself and never looks at the pages."""

import torch

history = {}


def slots_of(table, old_lens, new_lens, S, page_size):
    slots = torch.full((len(table), S), -1, dtype=torch.int64)
    for row, (old, new) in enumerate(zip(old_lens.tolist(), new_lens.tolist(), strict=True)):
        for i in range(new):
            page, place = divmod(old + i, page_size)
            slots[row, i] = int(table[row, page]) * page_size + place
    return slots


def append(k_pages, v_pages, k_new, v_new, slots):
    for token, slot in enumerate(slots.tolist()):
        if slot >= 0:
            history[slot] = k_new[token], v_new[token]


def attend(
    q, k_pages, v_pages, page_table, seq_lens, q_lens=None, *, causal=True, scale=None, splits=1
):
    B, S, H, _ = q.shape
    return torch.zeros_like(q), torch.zeros(B, H, S)
