"""Beside a submission, in its worker: write down what its methods are given and return.

This text and its `recorder_*` neighbours are sent behind a challenge's driver and run there; the learner's file needs
no hook.  It shares the process with learner code, so what it says is a help and no evidence.  Everything it keeps is
bounded.
"""

import contextlib
import functools
import itertools
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:  # there, all these texts are one module
    from grader.diagnose.in_worker.kernel_recorder import Seen, interpreted
    from grader.diagnose.in_worker.object_views import (
        ABSENT,
        counts,
        follow,
        held,
        public,
        twice,
        versions,
    )
    from grader.diagnose.in_worker.torch_recorder import Watch

MOST_CALLS = 400  # of one step
MOST_ROWS = 1200
MOST_NUMBERS = 16384  # of one tensor; of a larger one only its shape is told
MOST_BYTES = 6 << 20
MOST_PARTS = 12
SELF = -1  # the number of `self` among the arguments
TEXT = 200
NAMES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"
PLAIN = {getattr(torch, name) for name in NAMES.split()}


class Halt(Exception):
    """Ends a step after a call behind which the process was seen to die."""


class Recorder:
    """Rows `[call, method, kind, part, type, text]`, and the tensors they speak of, since the last `take`."""

    def __init__(self, wanted: dict[str, dict[str, Any]], most: int = MOST_CALLS) -> None:
        self.wanted, self.most = wanted, most
        self.weights_shape: Any = None
        self.quiet = False
        self.home = ""
        self._empty()

    def _empty(self) -> None:
        self.rows: list[list[Any]] = []
        self.tensors: dict[str, torch.Tensor] = {}
        self.calls, self.bytes = 0, 0

    def take(self) -> dict[str, Any]:
        """Return what was recorded and forget it."""
        full = self.calls > MOST_CALLS or len(self.rows) >= MOST_ROWS
        taken = {"rows": self.rows, "tensors": self.tensors, "full": full}
        self._empty()
        return taken

    def install(self, module: Any) -> None:
        """Wrap the wanted functions and methods that the submission defines."""
        self.home = module.__name__
        for name, item in list(vars(module).items()):
            if isinstance(item, types.FunctionType) and name in self.wanted:
                setattr(module, name, self._wrapped(item, name, False))
            if interpreted(item) and name in {wanted.split(">")[-1] for wanted in self.wanted}:
                setattr(module, name, Seen(item, self, name))
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
            if self.quiet:
                return function(*args, **kwargs)
            given = args[1:] if bound else args
            owner = args[0] if bound and args else None
            self.entered(name, lambda: {SELF: owner, **dict(enumerate(given))})
            before = versions([*given, *kwargs.values()])
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                call = self._note(name, "raised", "", "text", type(error).__name__)
                self._shown(call, name, "raised", ".self.", owner, spec["self"])
                raise
            after = versions([*given, *kwargs.values()])
            call = self.returned(name, lambda: result, "changed" if before != after else "")
            self._aside(call, name, spec, owner, [*given, *kwargs.values()], result)
            self.halt()
            return result

        return recorded

    def entered(self, name: str, given: Callable[[], dict[int, Any]], text: str = "") -> None:
        """Record the arguments that are wanted of a call, and what they show."""
        if wanted := self.wanted.get(name, {}).get("args"):
            call = self._note(name, "enter", "", "text", text)
            values = given() if call <= MOST_CALLS else {}
            for index in sorted(wanted.keys() & values.keys()):
                with contextlib.suppress(Exception):
                    self._add(call, name, "enter", str(index), values[index], 0)
                self._shown(call, name, "enter", f"{index}.", values[index], wanted[index])
            self.halt()

    def returned(self, name: str, result: Callable[[], Any], text: str = "") -> int:
        """Record what a call made, and return its number."""
        if name not in self.wanted:
            return MOST_CALLS + 1
        call = self._note(name, "result", "", "text", text)
        if call <= MOST_CALLS:
            with contextlib.suppress(Exception):
                self._add(call, name, "result", "", result(), 0)
        return call

    def halt(self) -> None:
        """End the step where it was seen to die later."""
        if self.most <= self.calls < MOST_CALLS:
            raise Halt

    def written(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that a kernel writes to."""
        return {
            item: given[item]
            for item in self.wanted.get(name, {}).get("writes", ())
            if item in given
        }

    def _aside(
        self, call: int, name: str, spec: dict[str, Any], owner: Any, given: Any, result: Any
    ) -> None:
        """Record what a result and its owner show, and what they share."""
        self._shown(call, name, "result", ".self.", owner, spec["self"])
        self._shown(call, name, "result", ".look.", result, spec["look"])
        sides = {"result": [result], "self": [owner], "arguments": given}
        for pair in spec["apart"] if call <= MOST_CALLS else ():
            with contextlib.suppress(Exception):
                if pair == "self/self":
                    text = "shared" if twice(owner) else "apart"
                    self._row(call, name, "result", f"~{pair}/objects", "value", text)
                else:
                    self._shared(call, name, pair, [held(*sides[side]) for side in pair.split("/")])

    def _shown(
        self, call: int, name: str, kind: str, prefix: str, value: Any, paths: list[str]
    ) -> None:
        """Record what paths lead to; learner code may run here, and is not recorded itself."""
        if call > MOST_CALLS:
            return
        self.quiet = True
        for path in paths:
            with contextlib.suppress(Exception):
                self._add(call, name, kind, prefix + path, follow(value, path), 0)
        self.quiet = False

    def _shared(self, call: int, name: str, pair: str, sides: Any) -> None:
        for sort, one, other in zip(("objects", "memory"), *sides, strict=True):
            text = "shared" if one & other else "apart"
            self._row(call, name, "result", f"~{pair}/{sort}", "value", text)

    def op(self, name: str, tensor: torch.Tensor) -> None:
        """Record what a function of torch itself was given or gave."""
        if self.quiet:
            return
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
        elif value is ABSENT:
            self._row(call, name, kind, part, "value", "not there")
        elif counts(value):
            self._tensor(call, name, kind, part, torch.tensor(value))
        elif isinstance(value, dict | list | tuple | range) and depth < 3:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            if part[:1] == ".":
                self._row(
                    call, name, kind, part, "value", f"{len(value)} item{'s'[: len(value) != 1]}"
                )
            for key, item in itertools.islice(items, MOST_PARTS):
                inner = f"{part}/{key}" if part else str(key)
                self._add(call, name, kind, inner[:60], item, depth + 1)
        else:
            self._row(call, name, kind, part, "object", type(value).__name__)
            if type(value).__module__ == self.home and depth < 2:
                for key, item in itertools.islice(public(value), MOST_PARTS):
                    self._add(call, name, kind, f"{part}.{key}"[:60], item, depth + 1)

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


def traced(verbs: Any, wanted: dict[str, dict[str, Any]], most: int = MOST_CALLS) -> Any:
    """Return a driver's `Verbs` that records, with one verb more to ask for what was recorded.

    After `most` calls a step is ended, if that is less than what is kept of one.
    """

    class Traced(verbs):  # type: ignore[misc]
        def __init__(self, submission: Any) -> None:
            self.__dict__["_points"] = recorder = Recorder(wanted, most)
            recorder.install(submission)
            super().__init__(submission)
            Watch(recorder).__enter__()  # type: ignore[no-untyped-call]

        def recorded_points(self) -> dict[str, Any]:
            taken: dict[str, Any] = self.__dict__["_points"].take()
            return taken

    return Traced
