"""Inside the worker: run a submission beside its driver and answer requests.

Everything here shares a process with learner code, so nothing it says is evidence of anything: it
only has to be fair to honest files. It does not know how frames travel.
"""

from __future__ import annotations

import linecache
import os
import sys
import types
from typing import Any

import safetensors.torch
import torch

from grader.sandbox import driverkit, faults, schema, wire
from grader.sandbox.document import as_python
from grader.sandbox.driverkit import Wrong
from grader.sandbox.environment import DEVICE
from grader.sandbox.values import Answer, nest


class Desk:
    """One submission and its driver, answering one blob with one blob."""

    def __init__(self, filename: str, *, isolated: bool) -> None:
        self.filename = filename
        self.isolated = isolated
        self.lines: list[str] = []
        self.kept: dict[str, Any] = {}
        self.broken: bytes | None = None
        self.verbs: Any = None
        self.code: dict[str, types.CodeType] = {}
        self.random = torch.get_rng_state()
        self.device = "cpu" if isolated else os.environ.get(DEVICE, "cpu")

    def load(self, source: bytes, driver: bytes) -> bytes:
        """Execute the submission, then the driver, and make the driver's `Verbs`."""
        try:
            text = as_python(self.filename, self._text(source))
            self._compile("submission", self.filename, text)
            self._compile("driver", "driver.py", driver.decode())
        except BaseException as error:
            return self._break(error)
        return self._load()

    def reload(self) -> bytes:
        """Execute both anew, with torch's usual settings back in force."""
        self.kept, self.verbs = {}, None
        torch.set_rng_state(self.random)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        return self.broken or self._load()

    def _load(self) -> bytes:
        try:
            if self.device != "cpu":
                torch.set_default_device(self.device)
            submission = self._execute("submission")
            self.verbs = self._execute("driver").Verbs(submission)
        except BaseException as error:
            return self._break(error)
        return _frame(Answer())

    def _break(self, error: BaseException) -> bytes:
        self.broken = self._fault(error, Answer(), {})
        return self.broken

    def answer(self, blob: bytes) -> bytes:
        """Call the verb a request names; after a failed load, repeat that failure."""
        if self.broken is not None:
            return self.broken
        request = schema.read_request(wire.check(blob))
        sent_on_cpu = safetensors.torch.load(blob)
        tensors: dict[str, Any] = {n: value.to(self.device) for n, value in sent_on_cpu.items()}
        sent = {name: value.nbytes for name, value in tensors.items()}
        driverkit.asked.clear()
        answer = Answer(request.room)
        try:
            answer.add("", self._call(request, tensors))
            return _frame(answer, self._echo(request.do, tensors, sent))
        except BaseException as error:
            return self._fault(error, answer, self._echo(request.do, tensors, sent))

    def _call(self, request: schema.RequestText, tensors: dict[str, Any]) -> dict[str, Any]:
        arguments = nest(request.args, tensors)
        if request.live is not None:
            arguments["live"] = self.kept[request.live]
        outcome: dict[str, Any] = getattr(self.verbs, request.do)(**arguments)
        if request.save is not None:
            self.kept[request.save] = self.verbs.__dict__.pop("returned", None)
        return {} if outcome is None else outcome

    def _echo(self, verb: str, tensors: dict[str, Any], sent: dict[str, int]) -> dict[str, Any]:
        may_change = getattr(self.verbs, "MAY_CHANGE", {}).get(verb, ())
        # an input grown in place is echoed empty: changed, and never too big to send
        return {
            name: value if value.nbytes <= sent[name] else value.new_empty(0)
            for name, value in tensors.items()
            if name.split("/")[0] not in may_change
        }

    def _text(self, source: bytes) -> str:
        try:
            text = source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SyntaxError(f"the file is not UTF-8 (byte {error.start})") from None
        self.lines = text.splitlines()
        return text

    def _execute(self, name: str) -> types.ModuleType:
        module = types.ModuleType(name)
        module.__file__ = self.code[name].co_filename
        sys.modules[name] = module
        exec(self.code[name], module.__dict__)
        return module

    def _compile(self, name: str, filename: str, text: str) -> None:
        # inspect.getsource, and Triton through it, must find a source that is no file
        lines = text.splitlines(keepends=True)
        linecache.cache[filename] = (len(text), None, lines, filename)
        self.code[name] = compile(text, filename, "exec", dont_inherit=True)

    def _fault(self, error: BaseException, answer: Answer, echo: dict[str, Any]) -> bytes:
        answer.clear()
        if isinstance(error, Wrong):
            answer.problem = faults.problem(error)
        else:
            answer.raised = faults.raised(error, self.filename, self.lines, isolated=self.isolated)
        return _frame(answer, echo)


def _frame(answer: Answer, echo: dict[str, Any] | None = None) -> bytes:
    tensors = {schema.OUTPUT + name: value for name, value in answer.tensors.items()}
    for name, value in (echo or {}).items():
        tensors[schema.ECHO + name] = value.detach().cpu().contiguous().clone()
    needed = list(dict.fromkeys(driverkit.asked))[:64]
    text = schema.ReplyText(answer.values, answer.raised, answer.problem, needed)
    blob: bytes = safetensors.torch.save(tensors, {wire.META_KEY: schema.encode(text)})
    return blob
