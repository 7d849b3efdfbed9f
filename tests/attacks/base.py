"""Put before every hostile program: a module of the right form that answers zeros, and a few words.

`attempt` makes a call that must be refused; what succeeds is written to the log as ESCAPED.
"""

import ctypes
import platform
import sys  # noqa: F401 - for the programs

import torch
from torch import nn

ROOTS = ("@ROOT@",)


class Stub(nn.Module):
    """The contract's constructor and return value, without the attention."""

    def __init__(self, d_model, num_heads, max_cache_len=2048, dropout=0.1):
        super().__init__()
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query, key, value, cache=None, use_causal_mask=True):
        new = {"key": self.k_proj(key), "value": self.v_proj(value)}
        for name, entry in (cache or {}).items():
            if entry is not None:
                new[name] = torch.cat([entry, new[name]], 1)
        return self.output(query, cache), new

    def output(self, query, cache):
        return torch.zeros_like(query)


KVCachedMultiHeadAttention = Stub


def escaped(what):
    print("ESCAPED:", what, flush=True)


def attempt(what, call):
    try:
        result = call()
    except Exception:
        return None
    escaped(what)
    return result


def attempt_call(what, number, *arguments):
    """Make a raw system call, by its number on x86-64."""
    if platform.machine() != "x86_64":
        return
    if ctypes.CDLL(None).syscall(number, *map(ctypes.c_long, arguments)) >= 0:
        escaped(what)
