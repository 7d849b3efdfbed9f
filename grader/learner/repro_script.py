"""One case as a plain script that runs under any debugger, with torch alone.

The script holds the inputs and the expected numbers of each step, the driver's verbs and the kit they are written with,
and `repro_runtime.py`.  Nothing of it is isolated: it runs the learner's own file as any program does.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import grader.kit
from grader.content import Case, Challenge
from grader.content.driver_loading import load_driver
from grader.ground.arrays import Array
from grader.judge.golden import CaseGolden, Expected
from grader.judge.request_cache import Answers
from grader.judge.script import CREATE, Script
from grader.sandbox import Reply, Request

READABLE = 96  # numbers of a tensor that are written as numbers; more of them as bytes
KIT = Path(grader.kit.__file__).parent
RUN = "sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else FILE, steps, DRIVER, KIT))"
RUNTIME = Path(__file__).with_name("repro_runtime.py")


def repro_script(challenge: Challenge, case: Case, golden: CaseGolden, file: Path) -> str:
    """Return the text of the script for a case of a file."""
    steps = ",\n".join(_steps(challenge, case, golden))
    kit = {"grader/__init__.py": ""}
    kit |= {f"grader/kit/{path.name}": path.read_text("utf-8") for path in sorted(KIT.glob("*.py"))}
    head = (
        f"{case.id} of {challenge.id}: {case.title}.\n\n{case.why}\n\n"
        "Run it as it is or under a debugger: `python -m pdb`, an editor's, or breakpoint() in your file.\n"
        "Needs torch, and nothing of the grader; your file is not isolated here."
    )
    parts = [
        _docstring(head),
        "import sys",
        f"FILE = {str(file)!r}  # or the first argument",
        f"def steps():\n    return [\n{steps},\n    ]",
        _without_docstring(RUNTIME.read_text("utf-8")),
        f"environment({dict(challenge.environment)!r})",
        f"DRIVER = {challenge.driver.decode()!r}",
        f"KIT = {kit!r}",
        f'if __name__ == "__main__":\n    {RUN}',
    ]
    return "\n\n".join(parts) + "\n"


def uses_right_answers(challenge: Challenge, case: Case) -> bool:
    """Whether a step is made from the numbers of an earlier answer, so that a script holds what the reference gave."""
    script = Script(challenge, case, saved=Answers())
    return set(script.indices) != set(script.precomputed())


def _without_docstring(text: str) -> str:
    """Return a module's text from its imports on, with a remark in the place of its docstring."""
    head = "# What follows makes the calls and compares the answers; it is the same in every such script."
    return f"{head}\n{text[text.index('import ') :].strip()}"


def _docstring(text: str) -> str:
    return '"""' + text.replace("\\", "\\\\").replace('"""', "'''") + '\n"""'


def _steps(challenge: Challenge, case: Case, golden: CaseGolden) -> Iterator[str]:
    """Yield each step as Python text.

    What a step takes from an earlier answer of the file is looked up when the script runs.  Where a driver must look at
    an answer to make the next step it is given the right one (`uses_right_answers`).
    """
    ahead = Script(challenge, case, saved=Answers()).precomputed()
    script = Script(challenge, case)
    verbs = load_driver(challenge).driver.verbs
    for index, expected in zip(script.indices, golden.steps, strict=True):
        request = ahead[index] if index in ahead else script.request(index)
        verb = verbs.get(request.do)
        chance = verb is not None and verb.told is not None
        title = "creation" if index == CREATE else f"step {index + 1}"
        if expected.raised is None:
            right = Reply(values=dict(expected.values), tensors=dict(expected.tensors))
            script.answered(index, right)
        yield f"        # {title}\n        Step({_fields(request, expected, chance=chance)})"


def _fields(request: Request, expected: Expected, *, chance: bool) -> str:
    arguments = {name: _plain(value) for name, value in request.args.items()}
    arguments |= {name: _tensor(item) for name, item in request.tensors.items()}
    right = {name: _plain(value) for name, value in expected.values.items()}
    right |= {name: _tensor(item) for name, item in expected.tensors.items()}
    tolerances = {name: repr(float(np.max(t))) for name, t in expected.tolerances.items()}
    fields = [
        repr(request.do),
        _dict(arguments),
        _dict({} if chance else right),
        _dict(tolerances),
        f"raises={expected.raised!r}",
        f"save={request.save!r}",
        f"live={request.live!r}",
    ]
    earlier = {
        name: repr((part.save, part.name, part.bounds, part.dtype))
        for name, part in request.earlier.items()
    }
    return ", ".join([*fields, f"earlier={_dict(earlier)}", f"chance={chance}"])


def _dict(items: Mapping[str, str]) -> str:
    if not items:
        return "{}"
    return (
        "{\n"
        + "".join(f"            {name!r}: {text},\n" for name, text in items.items())
        + "        }"
    )


def _plain(value: Any) -> str:
    if isinstance(value, float) and not np.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def _tensor(item: Array) -> str:
    """Return a tensor as Python text: its numbers where they are few and finite, else its bytes."""
    flat = np.ascontiguousarray(item.values).ravel()
    few = flat.size <= READABLE and bool(np.isfinite(flat.astype(np.float64)).all())
    kind = "float64" if item.dtype == "float64" else item.dtype
    values = repr(flat.tolist()) if few else repr(base64.b64encode(flat.tobytes()).decode())
    return f"tensor({kind!r}, {list(item.shape)}, {values})"
