"""Beside a submission, in its worker: write down what its methods return and what torch's softmax is given.

This text is sent behind a challenge's driver and runs there; the learner's file needs no hook.  It shares the process
with learner code, so what it says is a help and no evidence.  Everything it keeps is bounded.
"""

import functools
import types
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

MOST_CALLS = 400  # of one step
MOST_ROWS = 1200
MOST_NUMBERS = 16384  # of one tensor; of a larger one only its shape is told
MOST_BYTES = 6 << 20
MOST_PARTS = 12
TEXT = 200
NAMES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"
PLAIN = {getattr(torch, name) for name in NAMES.split()}
PRODUCTS = ("matmul", "__matmul__", "bmm", "einsum", "baddbmm", "__rmatmul__")


class Recorder:
    """Rows `[call, method, kind, part, type, text]`, and the tensors they speak of, since the last `take`."""

    def __init__(self, wanted: dict[str, dict[str, Any]]) -> None:
        self.wanted = wanted
        self.weights_shape: Any = None
        self._empty()

    def _empty(self) -> None:
        self.rows: list[list[Any]] = []
        self.tensors: dict[str, torch.Tensor] = {}
        self.calls, self.bytes = 0, 0

    def take(self) -> dict[str, Any]:
        """Return what was recorded and forget it."""
        taken = {"rows": self.rows, "tensors": self.tensors, "full": self.calls > MOST_CALLS}
        self._empty()
        return taken

    def install(self, module: Any) -> None:
        """Wrap the wanted functions and methods that the submission defines."""
        for name, item in list(vars(module).items()):
            if isinstance(item, types.FunctionType) and name in self.wanted:
                setattr(module, name, self._wrapped(item, name, False))
            if isinstance(item, type) and item.__module__ == module.__name__:
                self._install_class(item)

    def _install_class(self, owner: type) -> None:
        for name, item in list(vars(owner).items()):
            full = f"{owner.__name__}.{name}"
            known = full if full in self.wanted else name
            if known not in self.wanted:
                continue
            if isinstance(item, types.FunctionType):
                setattr(owner, name, self._wrapped(item, known, True))
            elif isinstance(item, staticmethod):
                setattr(owner, name, staticmethod(self._wrapped(item.__func__, known, False)))
            elif isinstance(item, classmethod):
                setattr(owner, name, classmethod(self._wrapped(item.__func__, known, True)))

    def _wrapped(self, function: Any, name: str, bound: bool) -> Any:
        spec = self.wanted[name]

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            given = args[1:] if bound else args
            self._entered(name, spec, given)
            before = _versions([*given, *kwargs.values()])
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self._note(name, "raised", "", "text", type(error).__name__)
                raise
            after = _versions([*given, *kwargs.values()])
            call = self._note(name, "result", "", "text", "changed" if before != after else "")
            self._add(call, name, "result", "", result, 0)
            for attribute in spec.get("self", ()):
                value = getattr(args[0], attribute, None) if bound and args else None
                self._add(call, name, "result", f"self.{attribute}", value, 0)
            return result

        return recorded

    def _entered(self, name: str, spec: dict[str, Any], given: Any) -> None:
        if spec.get("args"):
            call = self._note(name, "enter", "", "text", "")
            for index in spec["args"]:
                if index < len(given):
                    self._add(call, name, "enter", str(index), given[index], 0)

    def op(self, name: str, tensor: torch.Tensor) -> None:
        """Record what a function of torch itself was given or gave."""
        self._add(self._note(name, "op", "", "text", ""), name, "op", "", tensor, 0)

    def _note(self, name: str, kind: str, part: str, sort: str, text: str) -> int:
        self.calls += 1
        self._row(self.calls, name, kind, part, sort, text)
        return self.calls

    def _row(self, call: int, name: str, kind: str, part: str, sort: str, text: str) -> None:
        if call <= MOST_CALLS and len(self.rows) < MOST_ROWS:
            self.rows.append([call, name, kind, part, sort, text[:TEXT]])

    def _add(self, call: int, name: str, kind: str, part: str, value: Any, depth: int) -> None:
        if call > MOST_CALLS or len(self.rows) >= MOST_ROWS:
            return
        if isinstance(value, torch.Tensor):
            self._tensor(call, name, kind, part, value)
        elif value is None or isinstance(value, bool | int | float | str):
            self._row(call, name, kind, part, "value", str(value)[:TEXT])
        elif isinstance(value, dict | list | tuple | range) and depth < 3:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for count, (key, item) in enumerate(items):
                if count < MOST_PARTS:
                    inner = f"{part}/{key}" if part else str(key)
                    self._add(call, name, kind, inner[:60], item, depth + 1)
        else:
            self._row(call, name, kind, part, "object", type(value).__name__)

    def _tensor(self, call: int, name: str, kind: str, part: str, value: torch.Tensor) -> None:
        told = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        dense = (
            value.layout == torch.strided and value.dtype in PLAIN and value.device.type != "meta"
        )
        size = value.numel() * value.element_size()
        if not dense or value.numel() > MOST_NUMBERS or self.bytes + size > MOST_BYTES:
            self._row(call, name, kind, part, "shape", told)
            return
        self.bytes += size
        self._row(call, name, kind, part, "tensor", told)
        self.tensors[f"{call}:{part.replace('/', '|')}"] = value.detach().clone().cpu()


class Watch(TorchFunctionMode):
    """Sees every softmax and fused attention, whatever the file calls its methods."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "softmax" and args and isinstance(result, torch.Tensor):
            self.recorder.op("softmax.in", args[0])
            self.recorder.op("softmax.out", result)
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
            self.recorder.op("context", result)

    def _fused(
        self, result: Any, q: Any, k: Any, v: Any, attn_mask: Any = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: Any = None, enable_gqa: bool = False,
    ) -> None:  # fmt: skip
        """Work out what the fused function keeps to itself."""
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
        self.recorder.op("softmax.in", scores)
        self.recorder.op("softmax.out", scores.softmax(-1))
        self.recorder.op("context", result)


def _versions(values: Any) -> list[Any]:
    """Tell tensors, alone or in dictionaries, by identity and by how often each was written to."""
    seen: list[Any] = []
    for value in values:
        parts = value.values() if isinstance(value, dict) else [value]
        seen += [(id(part), _version(part)) for part in parts if isinstance(part, torch.Tensor)]
    return seen


def _version(tensor: torch.Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # a tensor made in inference mode does not count
        return 0


def traced(verbs: Any, wanted: dict[str, dict[str, Any]]) -> Any:
    """Return a driver's `Verbs` that records, with one verb more to ask for what was recorded."""

    class Traced(verbs):  # type: ignore[misc]
        def __init__(self, submission: Any) -> None:
            self.__dict__["_points"] = recorder = Recorder(wanted)
            recorder.install(submission)
            super().__init__(submission)
            Watch(recorder).__enter__()  # type: ignore[no-untyped-call]

        def recorded_points(self) -> dict[str, Any]:
            taken: dict[str, Any] = self.__dict__["_points"].take()
            return taken

    return Traced
