"""Warm-up: the driver beside `attention_program`, with the kinds of calls that drivers make."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from grader.kit import Wrong, need


class Verbs:
    """Create a layer, run it on a cache or none, run it with gradients and other dtypes, and fail."""

    def __init__(self, submission: Any) -> None:
        self.submission = submission

    def create(self, *, width: int, weights: dict[str, Tensor]) -> dict[str, Any]:
        """Make the layer and give it its weights."""
        torch.set_grad_enabled(False)
        self.layer = need(self.submission, "Layer")(width=width, parts=2)
        self.layer.to(torch.float32).eval()
        for name, given in weights.items():
            need(self.layer, name).weight.copy_(given)
        return {"ready": True}

    def run(self, *, x: Tensor, kept: dict[str, Tensor] | None = None) -> dict[str, Any]:
        """Call the layer, and leave its cache for the next call."""
        out, more = self.layer.train(False)(x, kept=kept)
        self.returned = more
        return {"out": out, "more": more, "flag": True, "size": list(x.shape)}

    def other(self, *, x: Tensor) -> dict[str, Tensor]:
        """Multiply in other dtypes, go backward, and change the input."""
        torch.manual_seed(0)
        torch.set_grad_enabled(True)
        half = x.bfloat16() @ x.bfloat16().transpose(-1, -2)
        double = x.double() @ x.double().transpose(-1, -2)
        self.layer.train()(x.clone().requires_grad_())[0].sum().backward()
        x.mul_(2)
        return {"half": half, "double": double}

    def fail(self) -> None:
        """Report a wrong answer."""
        raise Wrong("missing", "as a driver does for a helper that is not there")
