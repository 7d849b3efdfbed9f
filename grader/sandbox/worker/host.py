"""Run a submission beside its driver, in the worker, and answer requests.

Everything here shares a process with learner code, so nothing that it says is evidence of anything: it only has to
be fair to honest files. How frames travel is the business of `serve`.
"""

from __future__ import annotations

import linecache
import os
import random
import sys
import types
from typing import Any

import numpy
import torch

from grader.ground.strict_json import StrictJSONError, parse_strict
from grader.kit import answers
from grader.kit.answers import Wrong
from grader.sandbox.environment import DEVICE
from grader.sandbox.protocol import codec, frames
from grader.sandbox.protocol.messages import Earlier
from grader.sandbox.worker import error_report
from grader.sandbox.worker.tensors import Answer, Inputs, frame, nest

SEED = 1


def as_python(filename: str, text: str) -> str:
    """Return the Python text of a module that holds a JSON document as `document`, or a Python file's own text.

    What the document means is the driver's business. Raises SyntaxError, with the line where there is one, for text
    that is no strict JSON.
    """
    if not filename.endswith(".json"):
        return text
    try:
        return f"document = {parse_strict(text, finite=True)!r}\n"
    except StrictJSONError as error:
        if error.line is None:
            raise SyntaxError(f"no valid JSON for us: {error}") from None
        place = (filename, error.line, error.column, None)
        raise SyntaxError(f"no valid JSON: {error}", place) from None


class WorkerHost:
    """One submission and its driver; a blob of bytes comes in, a blob goes out.

    - `kept`: objects that a verb left in `self.returned`, by the `save` of their request; a later request may have
      one of them as it is (`live`), as a program does that goes on with the cache it was given;
    - `answered`: the tensors answered to requests with a `save`, as they were then: a later request may have a part
      of them as an input (`earlier`), whatever the file has done to its own tensors since;
    - `broken`: the answer to all further requests, once loading has failed.
    """

    def __init__(self, filename: str, *, isolated: bool) -> None:
        self.filename = filename
        self.isolated = isolated
        self.lines: list[str] = []
        self.kept: dict[str, Any] = {}
        self.answered: dict[str, dict[str, torch.Tensor]] = {}
        self.broken: bytes | None = None
        self.driver: Any = None
        self.verbs: Any = None
        self.code: dict[str, types.CodeType] = {}
        self.device = "cpu" if isolated else os.environ.get(DEVICE, "cpu")
        # a file that draws random numbers must come out the same from one grading to the next
        random.seed(SEED)
        numpy.random.seed(SEED)
        self._seed_torch()

    def load(self, source: bytes, driver: bytes) -> bytes:
        """Execute the submission, then the driver (packed by `codec.pack_driver`), and make the driver's `Verbs`."""
        try:
            self.code["submission"] = self._compile(as_python(self.filename, self._text(source)))
            self.code["driver"] = codec.unpack_driver(driver)
        except BaseException as error:
            return self._break(error)
        return self._load()

    def reload(self) -> None:
        """Execute the submission again, with torch's usual settings; a failure answers the next request."""
        self.kept, self.answered, self.verbs = {}, {}, None
        self._seed_torch()
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        if self.broken is None:
            self._load()

    def _seed_torch(self) -> None:
        # `torch.manual_seed` looks for every kind of device, which takes longer than many a case
        seed = torch.default_generator.manual_seed if self.device == "cpu" else torch.manual_seed
        seed(SEED)

    def _load(self) -> bytes:
        try:
            if self.device != "cpu":
                torch.set_default_device(self.device)
            submission = self._execute("submission")
            self.driver = self.driver or self._execute("driver")
            self.verbs = self.driver.Verbs(submission)
        except BaseException as error:
            return self._break(error)
        return _frame(Answer())

    def _break(self, error: BaseException) -> bytes:
        self.broken = self._fault(error, Answer(), {})
        return self.broken

    def answer(self, blob: bytes) -> bytes:
        """Call the verb that a request names; after a failed load, repeat that failure."""
        if self.broken is not None:
            return self.broken
        request_frame = frames.parse(blob)
        request = codec.read_request(request_frame.meta)
        inputs = Inputs(request_frame, self.device)
        answers.asked.clear()
        answer = Answer(request.room)
        try:
            for name, part in request.earlier.items():
                inputs.add(name, self._answered(part))
            answer.add("", self._call(request, inputs))
            if request.save is not None:
                # copied, for the file may go on to change what it returned
                self.answered[request.save] = {n: x.clone() for n, x in answer.tensors.items()}
            return _frame(answer, self._changed(request.do, inputs))
        except BaseException as error:
            return self._fault(error, answer, self._changed(request.do, inputs))

    def _answered(self, part: Earlier) -> torch.Tensor:
        whole = self.answered[part.save][part.name]
        cut = whole[tuple(slice(*bounds) for bounds in part.bounds)]
        return cut.to(getattr(torch, part.dtype)) if cut.is_floating_point() else cut

    def _call(self, request: codec.RequestText, inputs: Inputs) -> dict[str, Any]:
        arguments = nest(request.args, inputs.tensors)
        if request.live is not None:
            arguments["live"] = self.kept[request.live]
        outcome: dict[str, Any] = getattr(self.verbs, request.do)(**arguments)
        if request.save is not None:
            self.kept[request.save] = self.verbs.__dict__.pop("returned", None)
        return {} if outcome is None else outcome

    def _changed(self, verb: str, inputs: Inputs) -> dict[str, torch.Tensor]:
        return inputs.changed(getattr(self.verbs, "MAY_CHANGE", {}).get(verb, ()))

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

    def _compile(self, text: str) -> types.CodeType:
        # inspect.getsource, and Triton through it, must find a source that is no file
        lines = text.splitlines(keepends=True)
        linecache.cache[self.filename] = (len(text), None, lines, self.filename)
        return compile(text, self.filename, "exec", dont_inherit=True)

    def _fault(
        self, error: BaseException, answer: Answer, changed: dict[str, torch.Tensor]
    ) -> bytes:
        answer.clear()
        if isinstance(error, Wrong):
            answer.problem = error_report.problem(error)
        else:
            answer.raised = error_report.raised(
                error, self.filename, self.lines, isolated=self.isolated
            )
        return _frame(answer, changed)


def _frame(answer: Answer, changed: dict[str, torch.Tensor] | None = None) -> bytes:
    tensors = {codec.OUTPUT + name: value for name, value in answer.tensors.items()}
    tensors |= {codec.ECHO + name: value for name, value in (changed or {}).items()}
    needed = list(dict.fromkeys(answers.asked))[:64]
    text = codec.ReplyText(answer.values, answer.raised, answer.problem, needed)
    return frame(tensors, codec.encode(text))
