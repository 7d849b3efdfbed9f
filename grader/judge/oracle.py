"""Ask the trusted oracle what a case's answers are, and how far rounding alone may move them.

The reference is a file, the oracle is what runs it, and the golden holds its answers.  The oracle runs in the same kind
of worker as a submission, but in one that no learner's code has ever entered.

Tolerances
----------
Each case is run three times: in the case's own dtype (`native`), in float64 (`exact`, which is recorded), and in
float64 on inputs that are each off by one rounding of the case's dtype (`shaken`).  The tolerance of an output is the
largest of

    BASE[dtype] * max(1, largest exact number)      what an honest implementation of this dtype may be off by
    SLACK * largest |native - exact|                what the reference itself is off by
    SLACK * largest |shaken - exact|                what one rounding of every input does to the answer

Example, float32, numbers up to 3: BASE gives 2e-5 * 3 = 6e-5.  Were the reference off by 1e-5 (a long sum), the second
line would give 1.6e-4, and that is the tolerance.  Integers and booleans have tolerance 0: they must be equal.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any, Self

import numpy as np

from grader.content import Case, Challenge, ContentError
from grader.ground.arrays import Array
from grader.judge.case_run import SPARE_BYTES
from grader.judge.golden import CaseGolden, Expected, recipe_of
from grader.judge.script import CREATE, Script
from grader.judge.shaken_script import ShakenScript
from grader.judge.worker_reuse import limits_of
from grader.sandbox import Reply, Sandbox, Session, WorkerFailure

# What an honest implementation in each dtype may be off by on numbers of size one.
# Briefs ask for float32 inside or wider, so in float64 it is that of float32.
BASE = {"float64": 2e-5, "float32": 2e-5, "float16": 4e-3, "bfloat16": 2e-2}
WORKERS = 2  # of the oracle, for threads that ask at the same time
SLACK = 16  # times the error seen in the reference itself, and times the effect of one rounding of every input
JITTERS = range(1, 9)  # other inputs that a whole number must not depend on
MOVES = range(1, 3)  # times that what is sent is moved by a rounding, before an answer is wrong
SEED_SLACK = 4  # times a recorded tolerance, where it is used for other inputs of the same case


@dataclass(frozen=True)
class Run:
    """All replies of one run of the oracle."""

    replies: list[Reply]
    fingerprint: str


class Oracle:
    """The oracle at work, in workers that go on as long as nothing goes wrong; leaving the `with` block ends them.

    Several threads may ask; `WORKERS` of them are answered at a time.
    """

    def __init__(self, sandbox: Sandbox, challenge: Challenge) -> None:
        self._sandbox, self._challenge = sandbox, challenge
        self._idle: list[Session] = []  # workers that nobody asks at the moment
        self._turns = threading.BoundedSemaphore(WORKERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers that nobody asks; the next question gets a new one."""
        while (session := self._taken()) is not None:
            session.close()

    def _taken(self) -> Session | None:
        """Take a worker out of those that nobody asks, if there is one."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def expect(self, case: Case) -> CaseGolden:
        """Compute a case's golden with tolerances; raises ContentError when the oracle contradicts the case."""
        challenge = self._challenge
        native = self.run(Script(challenge, case))
        exact = self.run(Script(challenge, case, dtype="float64"))
        shaken = self.run(Script(challenge, case, dtype="float64", jitter=1))
        steps = [
            _expected(case, index - 1, *replies)
            for index, replies in enumerate(
                zip(native.replies, exact.replies, shaken.replies, strict=True)
            )
        ]
        needs = sorted({name for reply in native.replies for name in reply.needed})
        recipe = recipe_of(case, challenge)
        return CaseGolden(recipe, native.fingerprint, tuple(steps), tuple(needs))

    def expect_from_seed(
        self, case: Case, stored: CaseGolden, seed: int, *, plain: bool = True
    ) -> CaseGolden:
        """Compute a golden on inputs drawn from another seed, and of other sizes where those of `case` are others.

        The tolerances are the stored ones times `SEED_SLACK`, for other numbers of nearly the same sizes round a little
        differently.  So an answer that agrees is right, and one that does not may still be, where rounding decides:
        `allowing_for_rounding` tells.

        With `plain` whole numbers and plain values are those of a run in the dtype of the case, for some speak of the
        dtype (bytes); without it they are those of the exact run, which is enough for a file that had these right on
        the published inputs.

        Raises ContentError when the reference answers in another way than in the stored case.
        """
        exact = self.run(Script(self._challenge, case, dtype="float64", seed=seed))
        native = exact
        has_plain = any(step.values or not _floating(step) for step in stored.steps)
        if plain and has_plain and case.dtype != "float64":
            native = self.run(Script(self._challenge, case, seed=seed))
        steps = []
        for index, (old, best, own) in enumerate(
            zip(stored.steps, exact.replies, native.replies, strict=True), CREATE
        ):
            _answers_alike(case, index, old, best)
            _answers_alike(case, index, old, own)
            tolerances = {name: _on_others(old, name, best.tensors) for name in old.tolerances}
            steps.append(_answered(old, best.tensors, own, tolerances))
        return CaseGolden(stored.recipe, exact.fingerprint, tuple(steps), stored.needs)

    def allowing_for_rounding(
        self, case: Case, stored: CaseGolden, golden: CaseGolden, seed: int
    ) -> CaseGolden | None:
        """Return a golden of `expect_from_seed` with what rounding does to these very inputs.

        This is for answers that seem wrong, since it takes some more runs.  Other inputs may lie nearer to a tie than
        the recorded ones did: two scores of 20000 that differ by 1 make weights which rounding in float32 moves by
        1e-3.  The run in the dtype of the case, one whose inputs were drawn off by one rounding, and two whose numbers
        are off by one as they are sent (a driver may overwrite what is drawn), widen the tolerances.

        Whole numbers and plain values become those of the dtype of the case.  None if rounding decides one of them, so
        that it is not the recorded one and comes out otherwise on inputs that are off by one rounding: greedy tokens of
        another right file could be others.
        """
        native = self.run(Script(self._challenge, case, seed=seed))

        @cache
        def shaken(jitter: int) -> Run:
            script = Script(self._challenge, case, dtype="float64", jitter=jitter, seed=seed)
            return self.run(script)

        moved = [
            self.run(ShakenScript(self._challenge, case, dtype="float64", seed=seed, shake=number))
            for number in MOVES
        ]
        steps = []
        for place, (old, best) in enumerate(zip(stored.steps, golden.steps, strict=True)):
            own = native.replies[place]
            if not _same_plain(old, own):
                others = chain(moved, map(shaken, JITTERS))
                if not all(agree_in_plain(own, other.replies[place]) for other in others):
                    return None
            tolerances = dict(best.tolerances)
            rounded = {n: x for n, x in best.tensors.items() if x.floating and x.values.size}
            for name, item in rounded.items():
                replies = (run.replies[place] for run in (native, shaken(JITTERS[0]), *moved))
                for reply in replies:
                    seen = reply.tensors.get(name)
                    if seen and seen.shape == item.shape:
                        tolerances[name] = max(tolerances[name], SLACK * _gap(seen, item))
            steps.append(_answered(old, best.tensors, own, tolerances))
        return replace(golden, steps=tuple(steps))

    def run(self, script: Script) -> Run:
        """Run a script against the oracle; raises ContentError when the oracle fails."""
        with self._turns:
            session = self._taken()
            if session is not None:
                # it may have spent its CPU time on the cases before
                with suppress(WorkerFailure):
                    return self._attempt(script, session)
            return self._attempt(script, None)

    def _attempt(self, script: Script, used: Session | None) -> Run:
        """Run a script once; the worker goes on to the next one if all that was asked of it has been answered."""
        with ExitStack() as ending:
            session, loaded = self._loaded(used, ending)
            try:
                run = self._run(script, session, loaded)
            except ContentError:
                session.drain()
                if not session.broken:
                    ending.pop_all()
                    self._idle.append(session)
                raise
            ending.pop_all()
            self._idle.append(session)
            return run

    def _loaded(self, used: Session | None, ending: ExitStack) -> tuple[Session, Reply]:
        """Return a worker that has executed the reference, and what it said then; `ending` ends the worker."""
        limits = limits_of(self._challenge)
        if used is not None:
            ending.callback(used.close)
            used.reload(limits.seconds)
            return used, Reply()
        oracle = self._challenge.oracle
        session = self._sandbox.open(
            oracle.read_bytes(), self._challenge.driver, filename=oracle.name, limits=limits
        )
        ending.callback(session.close)
        return session, session.load()

    def _run(self, script: Script, session: Session, loaded: Reply) -> Run:
        replies = []
        _sound(script.case, None, loaded)
        settled = list(script.leading())
        together = session.pipeline((request, 64 * SPARE_BYTES) for request in settled)
        announced = iter(settled[:together])
        for index in script.indices:
            request = next(announced, None) or script.request(index)
            answer = session.ask(request, max_reply_bytes=64 * SPARE_BYTES)
            reply = script.told(index, answer)
            declared = None if index == CREATE else script.case.steps[index].get("raises")
            if declared is None:
                _sound(script.case, index, reply)
            replies.append(reply)
            script.answered(index, reply)
        return Run(replies, script.fingerprint)


def _answered(
    old: Expected, best: Mapping[str, Array], own: Reply, tolerances: Mapping[str, Any]
) -> Expected:
    """Return a step's right answer on other inputs: numbers from `best`, whole numbers and plain values from `own`."""
    if old.raised:
        return old
    tensors = {
        name: best[name] if best[name].floating else own.tensors[name] for name in old.tensors
    }
    return replace(old, values=dict(own.values), tensors=tensors, tolerances=tolerances)


def _floating(step: Expected) -> bool:
    return all(item.floating for item in step.tensors.values())


def _same_plain(stored: Expected, reply: Reply) -> bool:
    """Whether all that is no floating-point tensor came out as stored."""
    if stored.raised:
        return True
    whole = {name: x for name, x in stored.tensors.items() if not x.floating}
    values = dict(stored.values) == dict(reply.values)
    return (
        values
        and all(name in reply.tensors for name in whole)
        and all(
            x.shape == reply.tensors[name].shape and (x.values == reply.tensors[name].values).all()
            for name, x in whole.items()
        )
    )


def agree_in_plain(exact: Reply, native: Reply) -> bool:
    """Whether two runs agree in all that rounding must not decide."""
    if exact.raised or native.raised:
        return bool(exact.raised and native.raised)
    whole = [name for name, x in native.tensors.items() if not x.floating]
    shapes = {name: x.shape for name, x in native.tensors.items()}
    if shapes != {name: x.shape for name, x in exact.tensors.items()}:
        return False
    return _alike(dict(exact.values), dict(native.values)) and all(
        (native.tensors[name].values == exact.tensors[name].values).all() for name in whole
    )


def _alike(one: Any, other: Any) -> bool:
    """Equal, but for what rounding may do to a plain number with a fraction."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(x, other[name]) for name, x in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-6)
    return type(one) is type(other) and bool(one == other)


def _answers_alike(case: Case, index: int, stored: Expected, reply: Reply) -> None:
    """Raise ContentError unless a reply has the outputs of the stored answer, and is refused where that is."""
    if stored.raised:
        alike = reply.raised is not None and stored.raised in reply.raised.types
    else:
        alike = stored.tensors.keys() == reply.tensors.keys()
        alike = alike and stored.values.keys() == reply.values.keys()
        alike = alike and all(
            np.isfinite(reply.tensors[name].values.astype(np.float64)).all()
            for name in stored.tensors
        )
    if not alike:
        raise ContentError(f"case {case.id!r}, step {index}: answered in another way than recorded")


def _sound(case: Case, step: int | None, reply: Reply) -> None:
    where = f"case {case.id!r}, " + ("loading" if step is None else f"step {step}")
    if reply.raised:
        text = f"{reply.raised.types[0]}: {reply.raised.message} (line {reply.raised.line})"
        raise ContentError(f"{where}: the reference raised {text}")
    if reply.problem:
        raise ContentError(f"{where}: the reference answered wrongly: {reply.problem.message}")


def _expected(case: Case, index: int, native: Reply, exact: Reply, shaken: Reply) -> Expected:
    where = f"case {case.id!r}, step {index}"
    declared = None if index == CREATE else case.steps[index].get("raises")
    if declared is not None:
        types = native.raised.types if native.raised else ()
        if declared not in types:
            got = types[0] if types else "nothing"
            raise ContentError(f"{where}: `raises` says {declared}, the reference raised {got}")
        return Expected(raised=declared)
    tensors, tolerances = {}, {}
    for name, item in sorted(native.tensors.items(), key=_rank):
        if name not in exact.tensors or item.shape != exact.tensors[name].shape:
            raise ContentError(f"{where}: output {name!r} has another shape in float64")
        best = exact.tensors[name] if item.floating else item
        if not np.isfinite(best.values.astype(np.float64)).all():
            raise ContentError(f"{where}: the reference's {name!r} is not finite")
        tensors[name] = best
        tolerances[name] = _tolerance(item, best, shaken.tensors.get(name))
    expected = Expected(
        values=dict(native.values),
        dtypes={name: native.tensors[name].dtype for name in tensors},
        tolerances=tolerances,
        tensors=tensors,
    )
    _agree_by_hand(where, {} if index == CREATE else case.steps[index].get("expect", {}), expected)
    return expected


def _rank(output: tuple[str, Array]) -> tuple[int, str]:
    """Order of judging: outputs of the step itself before nested ones (`output` before `cache/key`), each by name."""
    return output[0].count("/"), output[0]


def _tolerance(native: Array, exact: Array, shaken: Array | None) -> float:
    if not native.floating or not native.values.size:
        return 0.0
    honest = _gap(native, exact)
    rounding = _gap(shaken, exact) if shaken is not None and shaken.shape == exact.shape else 0.0
    base = _base(native.dtype, exact)
    return float(f"{max(base, SLACK * honest, SLACK * rounding):.3g}")


def _base(dtype: str, exact: Array) -> float:
    """Return what an honest implementation in this dtype may be off by."""
    return BASE[dtype] * float(np.abs(exact.values).max(initial=1.0))


def _on_others(stored: Expected, name: str, exact: Mapping[str, Array]) -> float:
    """Return the tolerance of an output on other inputs; one that is empty in the stored case has none there."""
    if exact[name].floating and not stored.tensors[name].values.size:
        return _base(stored.dtypes[name], exact[name])
    return SEED_SLACK * float(stored.tolerances[name])


def _gap(a: Array, b: Array) -> float:
    return float(np.abs(a.values.astype(np.float64) - b.values.astype(np.float64)).max())


def _agree_by_hand(where: str, stated: dict[str, Any], expected: Expected) -> None:
    """Raise ContentError unless the outputs that the author worked out by hand (`expect`) agree with the reference."""
    for name, value in stated.items():
        if name in expected.tensors:
            want = _stated(where, name, value)
            have = expected.tensors[name].values.astype(np.float64)
            tol = expected.tolerances[name]
            good = want.shape == have.shape and bool((np.abs(want - have) <= max(tol, 1e-12)).all())
        else:
            good = name in expected.values and expected.values[name] == value
        if not good:
            raise ContentError(
                f"{where}: `expect` states another {name!r} than the reference gives"
            )


def _stated(where: str, name: str, value: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(value["values"] if isinstance(value, dict) else value, np.float64)
    except (ValueError, TypeError, OverflowError, KeyError):
        raise ContentError(f"{where}: `expect` gives no array of numbers for {name!r}") from None
