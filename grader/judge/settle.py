"""Settle a random case: what the reference answers to it, errors included, and how near an answer must come.

Nobody has said what must be refused, so the reference does: a step at which it raises what the brief allows becomes one
that must raise, and steps that build on the answer it never gave go.  A case that the reference does not settle says
nothing about a file and is dropped (`NotSettled`): it raises something else, answers NaN or infinity, refuses in one
dtype only, or rounding decides a whole number.

Tolerances are per element, so that a large number does not hide a small wrong one.  They are the largest of

    BASE[dtype] * max(1, |exact|)                    what an honest implementation may be off by
    SLACK * |native - exact|, SLACK * |shaken - exact|    of the element itself, for the error seen there may be luck
    ROW_SLACK * the largest of these in its row      what its neighbours show of the sums it is made of

In half precision the whole output counts, and SLACK for a row: each step of a computation rounds as coarsely as the
tolerance is, in another place in each file, so that a row of a few numbers may be near by luck.

`shaken` moves what is sent (not what is drawn: a driver may overwrite that) by one unit of float32 whatever the dtype,
for that is what briefs let a file compute in.  It is done twice, for once may change nothing by luck, and more often
before an answer is called wrong (`DOUBTED_SHAKES`).  Outputs that a verb calls `exact` are only moved about:
tolerance 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from grader.content import Case, Challenge, ContentError
from grader.content.driver_loading import load_driver
from grader.ground.arrays import Array
from grader.judge.case_run import SPARE_BYTES
from grader.judge.golden import CaseGolden, Expected, recipe_of
from grader.judge.oracle import BASE, SLACK, Oracle, Run, agree_in_plain
from grader.judge.script import CREATE, Script
from grader.judge.shaken_script import ShakenScript
from grader.sandbox import Reply, Sandbox, Session, WorkerFailure

ROW_SLACK = 4
HALVES = ("float16", "bfloat16")
SHAKES = 2  # times that numbers are moved
DOUBTED_SHAKES = (
    8  # times, where an answer seems wrong: in rows of two numbers twice may be luck, too
)
Step = Mapping[str, Any]


class NotSettled(Exception):
    """The reference does not settle this case."""


@dataclass(frozen=True)
class Settled:
    """A case as it is judged: its steps are those that the reference answers or refuses, and `golden` says how."""

    case: Case
    golden: CaseGolden


class Settler(Oracle):
    """The oracle for cases of which nobody has said what is refused."""

    def __init__(self, sandbox: Sandbox, challenge: Challenge) -> None:
        super().__init__(sandbox, challenge)
        spec = load_driver(challenge).driver.random
        self._raises = spec.raises if spec else ()

    def settle(self, case: Case, *, shakes: int = SHAKES) -> Settled:
        """Return the case without what builds on a refused step, and what is right; raises NotSettled.

        Numbers are moved by a rounding `shakes` times.  With few an answer that is right then is right, and one that
        seems wrong may be one that rounding decides.  So it is with none, where the case is run in its own dtype alone
        and half of what is allowed otherwise is: were native off by more than the other half, SLACK would allow more.
        """
        try:
            case, native = self._native(case)
            runs = [native]
            if shakes:
                exact = native
                if case.dtype != "float64":
                    exact = self.run(Script(self._challenge, case, dtype="float64"))
                scripts = (
                    ShakenScript(self._challenge, case, dtype="float64", shake=number)
                    for number in range(1, 1 + shakes)
                )
                runs += [exact, *map(self.run, scripts)]
            steps = tuple(
                self._expected(case, index, *replies)
                for index, replies in enumerate(
                    zip(*(run.replies for run in runs), strict=True), CREATE
                )
            )
        except (ContentError, WorkerFailure) as error:
            raise NotSettled(str(error)) from None
        if not case.steps:
            raise NotSettled("nothing is left of it")
        told = tuple(
            {**step, "raises": right.raised} if right.raised else dict(step)
            for step, right in zip(case.steps, steps[1:], strict=True)
        )
        case = replace(case, steps=told)
        needs = sorted({name for reply in native.replies for name in reply.needed})
        recipe = recipe_of(case, self._challenge)
        return Settled(case, CaseGolden(recipe, native.fingerprint, steps, tuple(needs)))

    def _native(self, case: Case) -> tuple[Case, Run]:
        """Run the case in its own dtype, again without the steps that cannot be asked, until all can."""
        while True:
            run = self.run(Script(self._challenge, case))
            gone: set[str] = set()
            kept: list[Step] = []
            for step, reply in zip(case.steps, run.replies[1:], strict=True):
                refused = reply.raised is not None and reply.raised.types[0] in self._raises
                if gone & _names(step) or ("spoil" in step and not refused):
                    # what cannot be spoiled, or is as good as a plain call then, says nothing
                    gone |= _saves(step)
                elif reply.raised:
                    gone |= _saves(step)
                    kept.append({key: x for key, x in step.items() if key != "save"})
                else:
                    kept.append(step)
            dropped = len(kept) < len(case.steps)
            case = replace(case, steps=tuple(kept))
            if not dropped:
                return case, run

    def _run(self, script: Script, session: Session, loaded: Reply) -> Run:
        replies: list[Reply] = []
        lost: set[str] = set()
        if loaded.raised or loaded.problem:
            raise ContentError("the reference cannot be loaded")
        for index in script.indices:
            step: Step = {} if index == CREATE else script.case.steps[index]
            if lost & _names(step):
                replies.append(Reply())
                lost |= _saves(step)
                continue
            reply = session.ask(script.request(index), max_reply_bytes=64 * SPARE_BYTES)
            self._allowed(index, step, reply)
            if reply.raised:
                lost |= _saves(step)
            else:
                script.answered(index, reply)
            replies.append(reply)
        return Run(replies, script.fingerprint)

    def _allowed(self, index: int, step: Step, reply: Reply) -> None:
        if "spoil" in step and (reply.raised or reply.problem):
            return
        if reply.problem:
            raise ContentError(f"step {index}: {reply.problem.message}")
        if reply.raised and (index == CREATE or reply.raised.types[0] not in self._raises):
            told = f"{reply.raised.types[0]}: {reply.raised.message}"
            raise ContentError(f"step {index}: the reference raised {told}")

    def _expected(self, case: Case, index: int, native: Reply, *others: Reply) -> Expected:
        where = f"step {index}"
        if native.raised:
            if not all(other.raised for other in others):
                raise ContentError(f"{where}: refused in one dtype only")
            return Expected(raised=native.raised.types[0])
        if any(other.raised for other in others):
            raise ContentError(f"{where}: refused in one dtype only")
        exact, *shaken = others or (native,)
        if not all(agree_in_plain(exact, other) for other in (native, *shaken)):
            raise ContentError(f"{where}: rounding decides a whole number")
        verb = load_driver(self._challenge).driver.verbs.get(
            "create" if index == CREATE else case.steps[index]["do"]
        )
        tensors: dict[str, Array] = {}
        tolerances: dict[str, Any] = {}
        for name, item in sorted(
            native.tensors.items(), key=lambda pair: (pair[0].count("/"), pair[0])
        ):
            moved = verb is not None and not verb.exact.isdisjoint(name.split("/"))
            # what is only moved about has the numbers of the case's dtype, which float64 may hold more exactly
            best = exact.tensors[name] if item.floating and not moved else item
            if not np.isfinite(best.values.astype(np.float64)).all():
                raise ContentError(f"{where}: the reference's {name!r} is not finite")
            tensors[name] = best
            seen = (reply.tensors[name] for reply in shaken)
            allowed = 0.0 if moved else tolerances_of(item, best, *seen)
            tolerances[name] = allowed if others else allowed / 2
        dtypes = {name: native.tensors[name].dtype for name in tensors}
        return Expected(
            values=dict(native.values), dtypes=dtypes, tolerances=tolerances, tensors=tensors
        )


def tolerances_of(native: Array, exact: Array, *shaken: Array) -> Any:
    """Return what each element may be off by; a number for what has none."""
    if not native.floating or not native.values.size:
        return 0.0
    best = exact.values.astype(np.float64)
    errors = (np.abs(other.values.astype(np.float64) - best) for other in (native, *shaken))
    seen = reduce(np.maximum, errors)
    row, size = seen, np.abs(best)
    if seen.ndim:
        row = ROW_SLACK * seen.max(-1, keepdims=True)
        if native.dtype in HALVES:
            row = np.maximum(SLACK / ROW_SLACK * row, ROW_SLACK * seen.max())
            size = size.max(-1, keepdims=True)
    base = BASE[native.dtype] * np.maximum(1.0, size)
    return np.maximum(base, np.maximum(SLACK * seen, row))


def _saves(step: Step) -> set[str]:
    return {step["save"]} if "save" in step else set()


def _names(step: Step) -> set[str]:
    """Every text that a step says, at any depth: earlier answers are named by some of these."""
    return set(_texts([said for key, said in step.items() if key not in ("do", "save", "spoil")]))


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [value, value.partition(".")[0]]
    parts = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list | tuple):
        return []
    return [text for part in parts for text in _texts(part)]
