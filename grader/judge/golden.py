"""The golden file of a challenge: per case and step the right tensors, values or exception, and the tolerances.

It is one safetensors file; numbers are float64.  A tensor's key is `CASE/STEP/OUTPUT`, e.g. `decode/create/cache/key`
or `decode/0/output`.  All that is not a tensor stands as JSON in one metadata string, so that equal goldens give equal
bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from grader.content import Case, Challenge, ContentError
from grader.ground.arrays import Array, pack, unpack
from grader.ground.invocation import command_line
from grader.kit import VERSION

KEY = "kvdojo"
SCHEMA = "kvdojo/golden/v1"


@dataclass(frozen=True)
class Expected:
    """One step's right answer; `dtypes` and `tolerances` are by output name, in the order of the outputs.

    A recorded tolerance is one number for an output; that of a random scenario is an array, a number for each element.
    """

    raised: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    tolerances: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(item.values.nbytes for item in self.tensors.values())


@dataclass(frozen=True)
class CaseGolden:
    """A case's right answers, from its creation on, with digests of the recipe and of all it draws.

    `needs` are the helpers the case asks for; `symptoms` is the fault dictionary of `judge.symptoms`.
    """

    recipe: str
    fingerprint: str
    steps: tuple[Expected, ...]
    needs: tuple[str, ...] = ()
    symptoms: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Golden:
    """The golden file of a challenge."""

    cases: Mapping[str, CaseGolden]
    oracle: str
    versions: Mapping[str, str]
    content: str = ""  # digest of the cases that were valid when this was recorded


def recipe_of(case: Case, challenge: Challenge) -> str:
    """Digest of what determines a case's answers besides the oracle.

    That is its JSON, the driver, the files that the driver reads, and the version of the kit.
    """
    recipe = [dict(case.setup), case.seed, case.dtype, case.steps, VERSION]
    text = json.dumps(recipe, sort_keys=True)
    return sha256(text.encode() + challenge.driver + challenge.reads_digest).hexdigest()[:32]


def oracle_digest(challenge: Challenge) -> str:
    """Digest of the file that computes the goldens."""
    return sha256(challenge.oracle.read_bytes()).hexdigest()[:32]


def load_golden(challenge: Challenge) -> Golden:
    """Read the golden file; raises ContentError when it is absent, broken or of another format."""
    path = challenge.golden
    remake = f"Run `{command_line('check', challenge.id, '--record')}` to make it anew."
    if not path.exists():
        raise ContentError(f"{path}: does not exist. {remake}")
    try:
        tensors = unpack(path.read_bytes())
        with safe_open(path, "numpy") as file:
            meta = json.loads((file.metadata() or {})[KEY])
        if meta["schema"] != SCHEMA:
            raise ValueError(f"its schema is {meta['schema']!r}, not {SCHEMA!r}")
        cases = {name: _case(name, entry, tensors) for name, entry in meta["cases"].items()}
        return Golden(cases, meta["oracle"], meta["versions"], meta.get("content", ""))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContentError(f"{path}: cannot be used: {error!r}. {remake}") from None


def save_golden(path: Path, golden: Golden) -> bytes:
    """Return the bytes of the golden file; equal goldens give equal bytes."""
    tensors: dict[str, Array] = {}
    meta: dict[str, Any] = {}
    for name, case in sorted(golden.cases.items()):
        for label, step in zip(labels(case), case.steps, strict=True):
            tensors |= {f"{name}/{label}/{output}": item for output, item in step.tensors.items()}
        meta[name] = {
            "recipe": case.recipe,
            "fingerprint": case.fingerprint,
            "steps": [_plain(step) for step in case.steps],
            "needs": list(case.needs),
            "symptoms": dict(case.symptoms),
        }
    document = {
        "schema": SCHEMA,
        "oracle": golden.oracle,
        "content": golden.content,
        "versions": dict(golden.versions),
        "cases": meta,
    }
    return pack(tensors, {KEY: json.dumps(document, sort_keys=True, allow_nan=False)})


def labels(case: CaseGolden) -> list[str]:
    """Names of the steps as they stand in the file's keys."""
    return ["create", *map(str, range(len(case.steps) - 1))]


def _plain(step: Expected) -> dict[str, Any]:
    tensors = [[name, step.dtypes[name], step.tolerances[name]] for name in step.tensors]
    return {"raised": step.raised, "values": dict(step.values), "tensors": tensors}


def _case(name: str, entry: Mapping[str, Any], tensors: Mapping[str, Array]) -> CaseGolden:
    marks = ["create", *map(str, range(len(entry["steps"]) - 1))]
    steps = []
    for label, step in zip(marks, entry["steps"], strict=True):
        outputs = [output for output, _, _ in step["tensors"]]
        steps.append(
            Expected(
                raised=step["raised"],
                values=step["values"],
                dtypes={output: dtype for output, dtype, _ in step["tensors"]},
                tolerances={output: float(tol) for output, _, tol in step["tensors"]},
                tensors={output: tensors[f"{name}/{label}/{output}"] for output in outputs},
            )
        )
    needs = tuple(entry["needs"])
    return CaseGolden(entry["recipe"], entry["fingerprint"], tuple(steps), needs, entry["symptoms"])
