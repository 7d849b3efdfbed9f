"""Survey a challenge and write `recorded/generated.json`; and what `kvdojo check` says of one that is there."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import combinations
from typing import Any

from grader.author.generate import difficulty
from grader.author.generate.acceptance import Verdicts
from grader.author.generate.proposals import Proposal, proposals
from grader.author.generate.survey import Survey, survey
from grader.author.generate.wording import symptom, texts
from grader.author.kill_matrix import first_kill
from grader.author.wrong_variants import planted
from grader.content import Bug, Challenge, ContentError
from grader.content.entries import Edit
from grader.content.generated_bugs import SCHEMA, read_generated, text_digest, with_generated
from grader.content.jsonfile import read_json
from grader.ground.transaction import replace_files
from grader.judge.golden import Golden, recipe_of
from grader.judge.grading import PARALLEL
from grader.sandbox import Sandbox

PAIRS = 200  # pairs of generated bugs that are tried together
OUTGROWN = "is nothing that the operators make today"
Progress = Callable[[str], None]


def record_generated(
    sandbox: Sandbox, challenge: Challenge, golden: Golden, say: Progress | None = None
) -> Survey:
    """Survey the reference and write what was kept; the same content gives the same bytes."""
    tell = say or (lambda _text: None)
    found = survey(
        sandbox,
        challenge,
        golden,
        progress=lambda done, total: tell(f"generated bugs {done}/{total}"),
    )
    tell("pairs of generated bugs")
    apart = cancelling_pairs(sandbox, challenge, golden, found)
    document = document_of(challenge, found, apart)
    path = challenge.generated.relative_to(challenge.folder).as_posix()
    replace_files(challenge.folder, {path: file_bytes(document)})
    return found


def document_of(
    challenge: Challenge, found: Survey, apart: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Return what is recorded of a survey."""
    return {
        "schema": SCHEMA,
        "reference": text_digest(challenge.reference_text),
        "cases": cases_digest(challenge),
        "proposed": found.proposed,
        "dropped": dict(found.dropped),
        "apart": [list(pair) for pair in apart],
        "bugs": [_entry(challenge, proposal, verdicts) for proposal, verdicts in found.kept],
    }


def file_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the file's bytes, one bug a line."""
    head = {name: value for name, value in document.items() if name != "bugs"}
    lines = [f"  {json.dumps(bug, ensure_ascii=False)}" for bug in document["bugs"]]
    text = json.dumps(head, ensure_ascii=False)[:-1]
    body = ",\n".join(lines)
    return f'{text},\n "bugs": [\n{body}]}}\n'.encode()


def cases_digest(challenge: Challenge) -> str:
    """Digest of all that a verdict on a mutant follows from, but for the reference."""
    recipes = {name: recipe_of(case, challenge) for name, case in challenge.cases.items()}
    return sha256(json.dumps(sorted(recipes.items())).encode()).hexdigest()[:32]


def cancelling_pairs(
    sandbox: Sandbox, challenge: Challenge, golden: Golden, found: Survey
) -> list[tuple[str, str]]:
    """Return the pairs, of a seeded sample, that no case refuses when both are planted."""
    bugs = [_bug(proposal, verdicts) for proposal, verdicts in found.kept]
    whole = with_generated(challenge, bugs)
    pairs = [
        (one.id, other.id)
        for one, other in combinations(bugs, 2)
        if other.id not in whole.bugs[one.id].excludes
        and one.id not in whole.bugs[other.id].excludes
    ]
    chosen = random.Random(challenge.id).sample(pairs, min(PAIRS, len(pairs)))

    def passes(pair: tuple[str, str]) -> bool:
        telling = {name for bug in pair for name in whole.bugs[bug].witnesses}
        order = sorted(challenge.cases.values(), key=lambda case: case.id not in telling)
        return first_kill(sandbox, challenge, golden, planted(whole, *pair), order) is None

    with ThreadPoolExecutor(PARALLEL) as pool:
        passed = list(pool.map(passes, chosen))
    return sorted(pair for pair, cancels in zip(chosen, passed, strict=True) if cancels)


def generated_faults(challenge: Challenge) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the recorded generated bugs, as subject and text; nothing is run.

    Cases may be added without a new survey: they only catch more.
    """
    if not challenge.generated.exists():
        return
    try:
        generated = read_generated(challenge)
        with_generated(challenge, [entry.bug for entry in generated.bugs.values()])
    except ContentError as error:
        yield "generated.json", str(error)
        return
    made = {proposal.id for proposal in proposals(challenge.reference_text)}
    for name, entry in generated.bugs.items():
        if name not in made:
            yield name, f"{OUTGROWN}; record again"
        gone = [case for case in entry.bug.witnesses if case not in challenge.cases]
        if gone:
            yield name, f"is caught by {gone[0]!r}, which is no case; generate again"


def bring_up_to_date(challenge: Challenge) -> int:
    """Remove the bugs that the operators make no more, as when one has learned restraint; return their number.

    The others get the words of today, and keep what the survey found: nothing that it depends on has changed.
    """
    try:
        read_generated(challenge)
    except ContentError:
        return 0  # there are none, or none that fit
    document = read_json(challenge.generated)
    made = {proposal.id: proposal for proposal in proposals(challenge.reference_text)}
    kept = [bug for bug in document["bugs"] if bug["id"] in made]
    gone = len(document["bugs"]) - len(kept)
    if gone:
        dropped = Counter(document["dropped"])
        dropped[OUTGROWN] += gone
        document["dropped"] = dict(sorted(dropped.items()))
        document["apart"] = [pair for pair in document["apart"] if made.keys() >= set(pair)]
    document["bugs"] = [{**bug, **_said(challenge, made[bug["id"]])} for bug in kept]
    path = challenge.generated.relative_to(challenge.folder).as_posix()
    replace_files(challenge.folder, {path: file_bytes(document)})
    return gone


def forget_stale(challenge: Challenge) -> bool:
    """Remove generated bugs that fit no more, and say whether there were any: only a survey can make others."""
    if not any(generated_faults(challenge)):
        return False
    challenge.generated.unlink()
    return True


def _bug(proposal: Proposal, verdicts: Verdicts) -> Bug:
    edits: tuple[Edit, ...] = proposal.edits
    return Bug(proposal.id, "bug", "", 1, "", edits, "", "", ("", "", ""), (), verdicts.witnesses)


def _entry(challenge: Challenge, proposal: Proposal, verdicts: Verdicts) -> dict[str, Any]:
    said = _said(challenge, proposal)
    families = _families(challenge)
    own = proposal.function.rpartition(".")[2]
    number = difficulty.score(challenge, proposal.group, verdicts, traced=own in families)
    return {
        "id": proposal.id,
        "operators": list(proposal.operators),
        "function": proposal.function,
        "family": families.get(own) or proposal.group,
        "score": number,
        "level": difficulty.level(number),
        "difficulty": difficulty.grade(number),
        "title": said["title"],
        "edits": [{"find": edit.find, "replace": edit.replace} for edit in proposal.edits],
        "symptom": symptom(challenge, verdicts),
        "explanation": said["explanation"],
        "hints": said["hints"],
        "witnesses": list(verdicts.witnesses),
    }


def _said(challenge: Challenge, proposal: Proposal) -> dict[str, Any]:
    said = texts(challenge, proposal)
    return {"title": said.title, "explanation": said.explanation, "hints": list(said.hints)}


def _families(challenge: Challenge) -> dict[str, str]:
    """Return the family of bugs that usually shows first in each function that is a checkpoint."""
    path = challenge.folder / "points.json"
    points = read_json(path)["points"] if path.exists() else []
    found: dict[str, str] = {}
    for point in points:
        method = str(point.get("method", "")).rpartition(">")[2].rpartition(".")[2]
        if method and point.get("family"):
            found.setdefault(method, point["family"])
    return found
