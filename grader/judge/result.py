"""The result of grading one file: `kvdojo/result/v1` as typed values, written as a document and read back.

What a program must know stands in a field of its own (`Cause.kind`, `Cause.looks_like`, `Cause.divergence`,
`CaseResult.unjudged_because`); sentences are made from these fields and nothing is ever read out of a sentence.

    >>> looks = Cause("wrong_value", "`out` differs.", help="Every value is zero.", looks_like="The cache is empty.")
    >>> looks.advice
    'It looks like this: The cache is empty.'
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from grader.content import Case, Challenge
    from grader.judge.fault_dictionary import OutputSketch

SCHEMA = "kvdojo/result/v1"
RANDOM_POINTS = (
    2  # that a failing random scenario costs: all or nothing, for how many fail depends on luck
)
PARTS = ("help", "looks_like", "divergence", "manner", "line", "raised_at")
ENDS = ("raised", "timeout", "memory", "crashed", "blocked", "missing")  # a run without an answer


@dataclass(frozen=True)
class Where:
    """The first wrong place; `step` is None before the first step."""

    step: int | None = None
    output: str | None = None
    index: tuple[int, ...] | None = None

    def document(self) -> dict[str, Any]:
        """Return the place as it stands in a result document."""
        index = None if self.index is None else list(self.index)
        return {"step": self.step, "output": self.output, "index": index}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a place back."""
        index = document["index"]
        return cls(document["step"], document["output"], None if index is None else tuple(index))


@dataclass(frozen=True)
class Cause:
    """Why a case is not passed.

    `kind` is None for skipped cases and for errors of the grader.  `help` says what to look at: a pattern of the wrong
    numbers, or the line that raised.  `looks_like` is the symptom of the only known mistake that makes exactly this
    output.  `divergence` says where inside the run the file first departs from the reference, and `manner` how it does.
    An exception came from `line` of the text that was graded, which the learner knows as `raised_at`, e.g.
    `kv_attention.py:92`.  `mixed` says that `help` is the whole advice in one text, as a document without parts has it.
    """

    kind: str | None
    rationale: str
    help: str | None = None
    expected: str | None = None
    actual: str | None = None
    where: Where | None = None
    looks_like: str | None = None
    divergence: str | None = None
    manner: str | None = None
    line: int | None = None
    raised_at: str | None = None
    mixed: bool = False

    @property
    def advice(self) -> str | None:
        """All there is to look at next, as text of one or more lines: the `help` of a document.

        A known mistake says more than a pattern of the numbers, which is then left out.
        """
        first = self.help if self.looks_like is None else f"It looks like this: {self.looks_like}"
        inside = self.divergence and f"First difference inside: {self.divergence}"
        parts = [first, inside, self.manner]
        return "\n".join(part for part in parts if part) or None

    def document(self) -> dict[str, Any]:
        """Return the cause as it stands in a result document."""
        return {
            "kind": self.kind,
            "rationale": self.rationale,
            "help": self.advice,
            "expected": self.expected,
            "actual": self.actual,
            "where": self.where and self.where.document(),
        }

    def parts(self) -> dict[str, Any]:
        """Return what the advice is made of, for an instructor's record: each part belongs to a level of telling."""
        return {name: getattr(self, name) for name in PARTS}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a cause back; without the parts of a record its `help` is the whole advice."""
        where = document["where"]
        parts = document.get("parts")
        told = {name: parts[name] for name in PARTS} if parts else {"help": document["help"]}
        return cls(
            kind=document["kind"],
            rationale=document["rationale"],
            expected=document["expected"],
            actual=document["actual"],
            where=where and Where.from_document(where),
            mixed=parts is None,
            **told,
        )


@dataclass(frozen=True)
class CaseResult:
    """Verdict on one case: passed, failed, error (could not be judged) or skipped.

    `unjudged_because` is the reason of an error; `sketch` describes the first wrong output, where there is one.
    """

    id: str
    title: str
    status: str
    points: float
    max_points: float
    seconds: float
    cause: Cause | None = None
    visibility: str = "public"
    kind: str = "scenario"
    why: str = ""
    sketch: OutputSketch | None = None
    unjudged_because: str | None = None

    @classmethod
    def judged(
        cls,
        case: Case,
        cause: Cause | None,
        seconds: float = 0.0,
        sketch: OutputSketch | None = None,
    ) -> Self:
        """Return a case that passed, or failed for a cause."""
        return cls._of(case, "failed" if cause else "passed", cause, seconds, sketch=sketch)

    @classmethod
    def skipped(cls, case: Case, why: str) -> Self:
        """Return a case that is not asked of this file; `why` is a sentence.  It has no marks to win or lose."""
        return cls._of(case, "skipped", Cause(None, f"Skipped: {why}"))

    @classmethod
    def unjudged(cls, case: Case, why: str) -> Self:
        """Return a case that something on our side kept from being judged: never the file's fault, never a pass."""
        cause = Cause(None, f"Could not be judged: {why}")
        return cls._of(case, "error", cause, unjudged_because=why)

    @classmethod
    def _of(
        cls, case: Case, status: str, cause: Cause | None, seconds: float = 0.0, **found: Any
    ) -> Self:
        return cls(
            id=case.id,
            title=case.title,
            status=status,
            points=case.points if status == "passed" else 0,
            max_points=0 if status == "skipped" else case.points,
            seconds=seconds,
            cause=cause,
            visibility=case.visibility,
            kind=case.kind,
            why=case.why,
            **found,
        )

    def document(self) -> dict[str, Any]:
        """Return the case as it stands in a result document."""
        document = {
            "id": self.id,
            "title": self.title,
            "status": self.status,
            "points": self.points,
            "max_points": self.max_points,
            "seconds": round(self.seconds, 4),
            "cause": redacted(self).document() if self.cause else None,
        }
        if self.visibility != "public":
            return document | {"visibility": self.visibility}
        if self.unjudged_because is not None:
            return document | {"unjudged_because": self.unjudged_because}
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a case back."""
        cause = document["cause"]
        return cls(
            id=document["id"],
            title=document["title"],
            status=document["status"],
            points=document["points"],
            max_points=document["max_points"],
            seconds=document["seconds"],
            cause=cause and Cause.from_document(cause),
            visibility=document.get("visibility", "public"),
            unjudged_because=document.get("unjudged_because"),
        )


@dataclass(frozen=True)
class RandomOutcome:
    """What random scenarios found: so many were run, and `failed` is 1 where the last of them failed.

    `smallest` is the failing case made small, as `kvdojo case add` takes it, and `cause` what was wrong in it.
    `unjudged_because` says what on our side kept them from being run.
    """

    run: int = 0
    failed: int = 0
    smallest: Mapping[str, Any] | None = None
    cause: Cause | None = None
    unjudged_because: str | None = None

    @property
    def case(self) -> CaseResult | None:
        """The failing scenario as a failing case, for those who show it; None where nothing failed."""
        if not self.failed:
            return None
        told = self.cause or Cause(
            "wrong_value", "The file and the reference answer it differently."
        )
        if self.smallest is None:  # more is not told
            return CaseResult("random-scenario", "A random scenario", "failed", 0, 0, 0.0, told)
        return CaseResult(
            *(self.smallest["id"], self.smallest["title"], "failed", 0, 0, 0.0, told),
            why=self.smallest["why"],
        )

    def document(self) -> dict[str, Any]:
        """Return it as it stands in a result document."""
        return {"run": self.run, "failed": self.failed, "smallest": self.smallest}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read it back; what was wrong in the failing case stands in no document."""
        return cls(document["run"], document["failed"], document["smallest"])


@dataclass(frozen=True)
class BugStatus:
    """What is known of one bug: fixed, present, changed or unknown; `evidence` says why, where that is in doubt."""

    id: str
    title: str
    status: str
    evidence: str | None = None


@dataclass(frozen=True)
class HelpTaken:
    """How much of the help there is was taken in an attempt: `rungs` of `of`, over all bugs that were planted."""

    rungs: int = 0
    of: int = 0

    def document(self) -> dict[str, int]:
        """Return it as it stands in a result document."""
        return {"rungs": self.rungs, "of": self.of}


@dataclass(frozen=True)
class Result:
    """Everything known after grading one file.

    `help` is what the attempt took of it, 0 of 0 for a file that is part of none.  `left_out` names the lines of a
    notebook that were not graded.  `secrets` are the seeds of its secret inputs by case; like `log`, `notices` and
    `decoys` they are in no document.
    """

    challenge: str
    file: str
    sha256: str
    verdict: str
    score: float
    max_score: float
    seconds: float
    cases: tuple[CaseResult, ...]
    bugs: tuple[BugStatus, ...]
    environment: Mapping[str, Any]
    left_out: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    log: str = ""
    decoys: tuple[BugStatus, ...] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict)
    random: RandomOutcome = RandomOutcome()
    help: HelpTaken = HelpTaken()

    @classmethod
    def of_cases(
        cls,
        challenge: str,
        file: str,
        sha256: str,
        cases: Iterable[CaseResult],
        *,
        environment: Mapping[str, Any],
        seconds: float = 0.0,
        bugs: Iterable[BugStatus] = (),
        decoys: Iterable[BugStatus] = (),
        random: RandomOutcome = RandomOutcome(),
        **known: Any,
    ) -> Self:
        """Return the result that these cases and random scenarios make: verdict and marks follow from nothing else."""
        cases = tuple(cases)
        lost = RANDOM_POINTS * random.failed
        return cls(
            challenge=challenge,
            file=file,
            sha256=sha256,
            verdict=verdict_of(cases, random),
            score=max(0, sum(case.points for case in cases) - lost),
            max_score=sum(case.max_points for case in cases),
            seconds=seconds,
            cases=cases,
            bugs=tuple(bugs),
            environment=environment,
            decoys=tuple(decoys),
            random=random,
            **known,
        )

    @classmethod
    def unjudged(cls, challenge: Challenge, file: str, sha256: str, why: str) -> Self:
        """Return the result of a file that was never run, with the reason `why` (a sentence) on every case."""
        from platform import python_version

        cases = [
            replace(CaseResult.unjudged(case, why), visibility="public")
            for case in challenge.cases.values()
        ]
        environment = environment_of({"python": python_version()})
        return cls.of_cases(challenge.id, file, sha256, cases, environment=environment)

    def document(self) -> dict[str, Any]:
        """Return the document `kvdojo/result/v1`; hidden cases carry no cause but how the run ended."""
        submission: dict[str, Any] = {"file": self.file, "sha256": self.sha256}
        if self.left_out:
            submission["left_out"] = list(self.left_out)
        return {
            "schema": SCHEMA,
            "challenge": self.challenge,
            "submission": submission,
            "verdict": self.verdict,
            "score": self.score,
            "max_score": self.max_score,
            "seconds": round(self.seconds, 3),
            "cases": [case.document() for case in self.cases],
            "random": self.random.document(),
            "bugs": [{"id": b.id, "title": b.title, "status": b.status} for b in self.bugs],
            "help": self.help.document(),
            "environment": dict(self.environment),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a document back that is valid under `result-v1`; its own verdict and marks are believed."""
        return cls(
            challenge=document["challenge"],
            file=document["submission"]["file"],
            sha256=document["submission"]["sha256"],
            left_out=tuple(document["submission"].get("left_out", ())),
            verdict=document["verdict"],
            score=document["score"],
            max_score=document["max_score"],
            seconds=document["seconds"],
            cases=tuple(map(CaseResult.from_document, document["cases"])),
            bugs=tuple(BugStatus(**bug) for bug in document["bugs"]),
            environment=document["environment"],
            random=RandomOutcome.from_document(document["random"])
            if "random" in document
            else RandomOutcome(),
            help=HelpTaken(**document["help"]) if "help" in document else HelpTaken(),
        )

    @property
    def judged(self) -> bool:
        """Whether there is a verdict on the learner's work."""
        return self.verdict != "error"

    @property
    def share(self) -> float:
        """Marks reached over those that could be reached: what could not be judged takes none away."""
        judged = [case for case in self.cases if case.status in ("passed", "failed")]
        most = sum(case.max_points for case in judged)
        points = sum(case.points for case in judged) - RANDOM_POINTS * self.random.failed
        return max(0.0, points / most) if most else 0.0

    @property
    def isolation(self) -> tuple[str, ...]:
        """The layers that confined the submission; empty where it ran without isolation."""
        return tuple(self.environment["isolation"])

    def bugs_that_are(self, status: str) -> int:
        """Count the bugs with a status."""
        return sum(bug.status == status for bug in self.bugs)


def environment_of(
    versions: Mapping[str, str | None], device: str = "cpu", isolation: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a result says of where it was made; `versions` are those of Python, torch and Triton."""
    found = {name: versions.get(name) for name in ("python", "torch", "triton")}
    return {**found, "device": device, "isolation": list(isolation)}


def verdict_of(cases: Sequence[CaseResult], random: RandomOutcome | None = None) -> str:
    """Failed if anything failed, error if anything could not be judged, passed if at least one scenario is right."""
    states = [case.status for case in cases]
    if "failed" in states or (random and random.failed):
        return "failed"
    if "error" in states or "passed" not in states or (random and random.unjudged_because):
        return "error"
    return "passed"


def redacted(case: CaseResult) -> Cause:
    """Return the cause of a case that is not passed as the learner may see it.

    Of a hidden case that is no more than that it failed: which kind of answer was wrong would tell what was asked; that
    the file raised or ran out of time does not.
    """
    assert case.cause is not None, "only a case that is not passed has a cause"
    if case.visibility == "public":
        return case.cause
    kind = case.cause.kind if case.cause.kind in {None, *ENDS} else "wrong_value"
    return Cause(kind, "A hidden case is not passed; its details are not shown.")


def most_informative_first(cases: Collection[CaseResult]) -> list[CaseResult]:
    """Return the cases that are errors or failed, the most telling first.

    Cases that isolate one method stand before scenarios, and of several that are wrong in the same
    way and place all but the first come later; those that were not even run come last.
    """
    order = {("error", "unit"): 0, ("error", "scenario"): 1, ("failed", "unit"): 2}
    wrong = [case for case in cases if case.status in {"error", "failed"}]
    wrong.sort(key=lambda case: order.get((case.status, case.kind), 3))
    firsts = {_fault(case): case for case in reversed(wrong)}
    return sorted(wrong, key=lambda case: (is_not_run(case), firsts[_fault(case)] is not case))


def is_not_run(case: CaseResult) -> bool:
    """Whether the case was given up before its turn: what runs out of time by itself has a place."""
    return bool(case.cause and case.cause.kind == "timeout" and case.cause.where is None)


def _fault(case: CaseResult) -> tuple[str | None, ...]:
    """Return what two cases share that are probably wrong for the same reason."""
    cause = case.cause
    if cause is None:
        return (case.status, case.id)
    return (case.status, cause.kind, cause.where.output if cause.where else cause.rationale)
