"""In the worker, beside a submission: record what torch's own softmax and fused attention are given and return.

Sent with the recorder.  It knows no method of the file, and so also serves a file that is written in one piece.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

PRODUCTS = ("matmul", "__matmul__", "bmm", "einsum", "baddbmm", "__rmatmul__")


class TorchFunctionRecorder(TorchFunctionMode):
    """Records every softmax and fused attention, and the product of weights and values behind a softmax.

    The records are `softmax.in` (the scores), `softmax.out` (the weights) and `context`.
    """

    def __init__(self, recorder: Any) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "softmax" and args and isinstance(result, torch.Tensor):
            self.recorder.torch_function("softmax.in", args[0])
            self.recorder.torch_function("softmax.out", result)
            self.recorder.weights_shape = result.shape
        elif name == "scaled_dot_product_attention":
            self._fused(result, *args, **kwargs)
        elif name in PRODUCTS and self.recorder.weights_shape is not None:
            self._product(args, result)
        return result

    def _product(self, args: Any, result: Any) -> None:
        shapes = [item.shape for item in args if isinstance(item, torch.Tensor)]
        if self.recorder.weights_shape in shapes and isinstance(result, torch.Tensor):
            self.recorder.weights_shape = None
            self.recorder.torch_function("context", result)

    def _fused(
        self, result: Any, q: Any, k: Any, v: Any, attn_mask: Any = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: Any = None, enable_gqa: bool = False,
    ) -> None:  # fmt: skip
        """Compute the scores and weights that the fused function keeps to itself."""
        if enable_gqa:
            k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
        scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).tril().logical_not()
            scores = scores.masked_fill(hidden, float("-inf"))
        if attn_mask is not None:
            boolean = attn_mask.dtype == torch.bool
            scores = (
                scores.masked_fill(~attn_mask, float("-inf")) if boolean else scores + attn_mask
            )
        self.recorder.torch_function("softmax.in", scores)
        self.recorder.torch_function("softmax.out", scores.softmax(-1))
        self.recorder.torch_function("context", result)
