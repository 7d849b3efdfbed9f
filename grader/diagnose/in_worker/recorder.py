"""In the worker, beside a submission: write down what its methods are given and what they return.

The text of this module and of its neighbours is sent behind a challenge's driver and executed there as one module; the
learner's file needs no hook.  It shares the process with learner code, so what it records is a help and no evidence.
Everything it keeps is bounded.
"""

import contextlib
import functools
import itertools
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:  # there, all these texts are one module
    from grader.diagnose.in_worker.kernel_recorder import KernelFunction, is_interpreted
    from grader.diagnose.in_worker.object_views import (
        ABSENT,
        argument_versions,
        follow_path,
        held_by,
        holds_one_twice,
        is_list_of_counts,
        public_attributes,
    )
    from grader.diagnose.in_worker.torch_recorder import TorchFunctionRecorder

MOST_CALLS = 400  # of one step
MOST_ROWS = 1200
MOST_NUMBERS = 16384  # of one tensor; of a larger one only its shape is kept
MOST_BYTES = 6 << 20
MOST_PARTS = 12
CALLER = -1  # the number of `self` among the arguments
TEXT = 200
NAMES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"
PLAIN = {getattr(torch, name) for name in NAMES.split()}


class StopStep(Exception):
    """Ends a step after a call behind which the process was seen to die."""


class Recorder:
    """Rows `[call, method, kind, part, type, text]`, and the tensors they refer to, since the last `take`.

    `wanted` says by method what is recorded beside its result: `arguments` (by number, the paths to follow from each),
    `object_paths`, `result_paths`, `written` and `apart`, as `CheckpointSpec` describes them.  A row's kind is `enter`,
    `result`, `raised` or `op`, and its type `text` (the first row of a call), `tensor`, `shape` (a tensor too large to
    keep), `value` or `object`.
    """

    def __init__(self, wanted: dict[str, dict[str, Any]], most: int = MOST_CALLS) -> None:
        self.wanted, self.most = wanted, most
        self.weights_shape: Any = None
        self.quiet = False  # true while a path is followed, which may call the file's own methods
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
            if is_interpreted(item) and name in {wanted.split(">")[-1] for wanted in self.wanted}:
                setattr(module, name, KernelFunction(item, self, name))
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
        wanted = self.wanted[name]

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if self.quiet:
                return function(*args, **kwargs)
            given = args[1:] if bound else args
            owner = args[0] if bound and args else None
            self.entered(name, lambda: {CALLER: owner, **dict(enumerate(given))})
            before = argument_versions([*given, *kwargs.values()])
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                call = self._begin(name, "raised", type(error).__name__)
                self._follow(call, name, "raised", ".self.", owner, wanted["object_paths"])
                raise
            after = argument_versions([*given, *kwargs.values()])
            call = self.returned(name, lambda: result, "changed" if before != after else "")
            self._beside(call, name, wanted, owner, [*given, *kwargs.values()], result)
            self.stop_if_due()
            return result

        return recorded

    def entered(self, name: str, given: Callable[[], dict[int, Any]], text: str = "") -> None:
        """Record the arguments that are wanted of a call, and what the paths from them lead to."""
        if wanted := self.wanted.get(name, {}).get("arguments"):
            call = self._begin(name, "enter", text)
            values = given() if call <= MOST_CALLS else {}
            for index in sorted(wanted.keys() & values.keys()):
                with contextlib.suppress(Exception):
                    self._add(call, name, "enter", str(index), values[index], 0)
                self._follow(call, name, "enter", f"{index}.", values[index], wanted[index])
            self.stop_if_due()

    def returned(self, name: str, result: Callable[[], Any], text: str = "") -> int:
        """Record what a call returned, and return the call's number."""
        if name not in self.wanted:
            return MOST_CALLS + 1
        call = self._begin(name, "result", text)
        if call <= MOST_CALLS:
            with contextlib.suppress(Exception):
                self._add(call, name, "result", "", result(), 0)
        return call

    def stop_if_due(self) -> None:
        """End the step where it was seen to die later."""
        if self.most <= self.calls < MOST_CALLS:
            raise StopStep

    def written_arguments(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that a kernel writes to."""
        written = self.wanted.get(name, {}).get("written", ())
        return {item: given[item] for item in written if item in given}

    def _beside(
        self, call: int, name: str, wanted: dict[str, Any], owner: Any, given: Any, result: Any
    ) -> None:
        """Record what the paths from a result and from its owner lead to, and what the two share."""
        self._follow(call, name, "result", ".self.", owner, wanted["object_paths"])
        self._follow(call, name, "result", ".look.", result, wanted["result_paths"])
        sides = {"result": [result], "self": [owner], "arguments": given}
        for pair in wanted["apart"] if call <= MOST_CALLS else ():
            with contextlib.suppress(Exception):
                if pair == "self/self":
                    text = "shared" if holds_one_twice(owner) else "apart"
                    self._row(call, name, "result", f"~{pair}/objects", "value", text)
                else:
                    both = [held_by(*sides[side]) for side in pair.split("/")]
                    self._shared(call, name, pair, both)

    def _follow(
        self, call: int, name: str, kind: str, prefix: str, value: Any, paths: list[str]
    ) -> None:
        """Record what paths lead to; learner code may run here, and is not recorded itself."""
        if call > MOST_CALLS:
            return
        self.quiet = True
        for path in paths:
            with contextlib.suppress(Exception):
                self._add(call, name, kind, prefix + path, follow_path(value, path), 0)
        self.quiet = False

    def _shared(self, call: int, name: str, pair: str, sides: Any) -> None:
        for sort, one, other in zip(("objects", "memory"), *sides, strict=True):
            text = "shared" if one & other else "apart"
            self._row(call, name, "result", f"~{pair}/{sort}", "value", text)

    def torch_function(self, name: str, tensor: torch.Tensor) -> None:
        """Record what a function of torch itself was given or returned."""
        if not self.quiet:
            self._add(self._begin(name, "op", ""), name, "op", "", tensor, 0)

    def _begin(self, name: str, kind: str, text: str) -> int:
        self.calls += 1
        self._row(self.calls, name, kind, "", "text", text)
        return self.calls

    def _row(self, call: int, name: str, kind: str, part: str, sort: str, text: str) -> None:
        if call <= MOST_CALLS and len(self.rows) < MOST_ROWS:
            self.rows.append([call, name, kind, part, sort, text[:TEXT]])

    def _add(self, call: int, name: str, kind: str, part: str, value: Any, depth: int) -> None:
        """Record a value: tensors and numbers as they are, containers and objects of the file by their items."""
        if call > MOST_CALLS or len(self.rows) >= MOST_ROWS:
            return
        if isinstance(value, torch.Tensor):
            self._tensor(call, name, kind, part, value)
        elif value is None or isinstance(value, bool | int | float | str):
            self._row(call, name, kind, part, "value", str(value)[:TEXT])
        elif value is ABSENT:
            self._row(call, name, kind, part, "value", "not there")
        elif is_list_of_counts(value):
            self._tensor(call, name, kind, part, torch.tensor(value))
        elif isinstance(value, dict | list | tuple | range) and depth < 3:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            if part[:1] == ".":
                amount = f"{len(value)} item{'s'[: len(value) != 1]}"
                self._row(call, name, kind, part, "value", amount)
            for key, item in itertools.islice(items, MOST_PARTS):
                inner = f"{part}/{key}" if part else str(key)
                self._add(call, name, kind, inner[:60], item, depth + 1)
        else:
            self._row(call, name, kind, part, "object", type(value).__name__)
            if type(value).__module__ == self.home and depth < 2:
                for key, item in itertools.islice(public_attributes(value), MOST_PARTS):
                    self._add(call, name, kind, f"{part}.{key}"[:60], item, depth + 1)

    def _tensor(self, call: int, name: str, kind: str, part: str, value: torch.Tensor) -> None:
        form = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        dense = (
            value.layout == torch.strided and value.dtype in PLAIN and value.device.type != "meta"
        )
        size = value.numel() * value.element_size()
        if not dense or value.numel() > MOST_NUMBERS or self.bytes + size > MOST_BYTES:
            self._row(call, name, kind, part, "shape", form)
            return
        self.bytes += size
        self._row(call, name, kind, part, "tensor", form)
        self.tensors[f"{call}:{part.replace('/', '|')}"] = value.detach().clone().cpu()


def traced(verbs: Any, wanted: dict[str, dict[str, Any]], most: int = MOST_CALLS) -> Any:
    """Return a driver's `Verbs` that records, with one verb more to ask for what was recorded.

    A step is ended after `most` calls, if that is less than what is kept of one.
    """

    class Traced(verbs):  # type: ignore[misc]
        def __init__(self, submission: Any) -> None:
            self.__dict__["_recorder"] = recorder = Recorder(wanted, most)
            recorder.install(submission)
            super().__init__(submission)
            TorchFunctionRecorder(recorder).__enter__()  # type: ignore[no-untyped-call]

        def recorded_calls(self) -> dict[str, Any]:
            taken: dict[str, Any] = self.__dict__["_recorder"].take()
            return taken

    return Traced
