"""Which mutants become bugs, and what is said of them."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from grader.author.generate import acceptance, difficulty
from grader.author.generate.acceptance import Choice, KnownFaults, Verdicts, objection, verdicts_of
from grader.author.generate.generated_file import (
    bring_up_to_date,
    document_of,
    file_bytes,
    forget_stale,
    generated_faults,
)
from grader.author.generate.proposals import Proposal, proposals
from grader.author.generate.survey import Judge, Survey, judged_ahead, survey
from grader.author.generate.wording import symptom, texts
from grader.author.kill_matrix import Judged
from grader.author.wrong_variants import planted
from grader.content import Catalogue, Challenge, load_challenge
from grader.content.statements import statements
from grader.ground.paths import ROOT
from grader.judge import start_sandbox
from grader.judge.fault_dictionary import OutputSketch
from grader.judge.golden_check import usable_golden
from grader.judge.result import CaseResult, Cause, Where

SMALL = "multi_head_attention"


@pytest.fixture(scope="module")
def challenge() -> Challenge:
    return load_challenge(SMALL)


@pytest.fixture(scope="module")
def made(challenge: Challenge) -> dict[tuple[str, str], Proposal]:
    return {(p.before, p.after): p for p in proposals(challenge.reference_text)}


def verdicts(kinds: dict[str, str], excess: float = 1e4, step: int = 0) -> Verdicts:
    same = dict.fromkeys(kinds, "0")
    steps = dict.fromkeys(kinds, step)
    return Verdicts(kinds, dict.fromkeys(kinds, excess), {}, {}, same, steps, 65)


UNIT, SCENARIO = "scores-square", "prefill-then-steps"


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ({}, acceptance.SURVIVES),
        ({UNIT: "raised"}, acceptance.CRASHES),
        ({UNIT: "wrong_value", SCENARIO: "timeout"}, acceptance.CRASHES),
        ({UNIT: "wrong_value", SCENARIO: "raised"}, acceptance.CRASHES),
        ({UNIT: "wrong_value"}, acceptance.NO_SCENARIO),
        ({SCENARIO: "wrong_value"}, acceptance.NO_UNIT),
        ({UNIT: "not_finite", SCENARIO: "mutated_input"}, None),
        ({UNIT: "did_not_raise", SCENARIO: "wrong_value"}, None),
    ],
)
def test_a_bug_is_silent_and_seen_by_a_unit_and_a_scenario(
    challenge: Challenge, kinds: dict[str, str], reason: str | None
) -> None:
    assert objection(challenge, verdicts(kinds)) == reason


def test_verdicts_keep_what_failed_and_where() -> None:
    cause = Cause("wrong_value", "no", where=Where(2, "out"))
    sketch = OutputSketch(2, "out", [1.0])
    failed = CaseResult("a", "A", "failed", 0, 1, 0.1, cause, sketch=sketch)
    plain = CaseResult("c", "C", "failed", 0, 1, 0.1, cause)
    passed = CaseResult("b", "B", "passed", 1, 1, 0.1)
    judged = {"a": Judged(failed, 12.0), "b": Judged(passed, 0.1), "c": Judged(plain, 0.2)}
    found = verdicts_of(judged)
    assert (found.witnesses, found.steps, found.judged) == (("a", "c"), {"a": 2, "c": 2}, 3)
    assert found.median_excess == 12.0  # of a value that is no tensor nothing is measured


def test_what_behaves_alike_is_kept_once(made: dict[tuple[str, str], Proposal]) -> None:
    one, other = list(made.values())[:2]
    kept = Choice([(one, verdicts({UNIT: "wrong_value", SCENARIO: "wrong_value"}))])
    assert kept.objection(other, kept.kept[0][1]) == acceptance.SAME
    assert kept.objection(other, verdicts({UNIT: "wrong_value"})) is None


def test_a_line_holds_so_many_and_no_more(made: dict[tuple[str, str], Proposal]) -> None:
    one = next(iter(made.values()))
    kept = [(one, verdicts({f"{i}": "wrong_value"})) for i in range(acceptance.MOST_PER_LINE)]
    assert Choice(kept).objection(one, verdicts({UNIT: "wrong_value"})) == acceptance.CROWDED


def test_what_a_line_may_have_no_place_for_waits_until_that_is_known(
    made: dict[tuple[str, str], Proposal],
) -> None:
    one = next(iter(made.values()))
    crowd = [replace(one, text=str(n), operators=(f"kind-{n}",)) for n in range(9)]
    others = [
        replace(one, text=str(n), line=n, operators=(f"kind-{n}",)) for n in range(1000, 1009)
    ]
    choice, judged = Choice([]), list[str]()

    def judge(proposal: Proposal) -> tuple[Verdicts, str | None]:
        if not choice.is_full(proposal):
            judged.append(proposal.text)
        time.sleep(0.01)
        return verdicts({UNIT: "wrong_value"}), None

    with ThreadPoolExecutor(2) as pool:
        for proposal, job in judged_ahead(pool, judge, choice, [*crowd, *others]):
            if choice.objection(proposal, job.result()[0]) != acceptance.CROWDED:
                choice.kept.append((proposal, job.result()[0]))
    kept = [proposal.text for proposal, _ in choice.kept]
    assert kept == [one.text for one in [*crowd[:3], *others]], "the order is that of the proposals"
    assert sorted(judged) == sorted(kept), "none is run in vain"


def test_a_bug_that_is_there_already_is_not_made_again(
    challenge: Challenge, made: dict[tuple[str, str], Proposal]
) -> None:
    golden = usable_golden(challenge, challenge.cases.values())
    known = KnownFaults(
        challenge, golden, {name: planted(challenge, name).decode() for name in challenge.bugs}
    )
    texts_of_bugs = {
        repr(statements(planted(challenge, name).decode()))
        for name, bug in challenge.bugs.items()
        if bug.kind == "bug"
    }
    again = [p for p in made.values() if repr(statements(p.text)) in texts_of_bugs]
    assert again
    assert all(known.holds(p) for p in again)
    other = made[("Q = self.q_proj(query)", "Q = self.k_proj(query)")]
    assert not known.holds(other)


@pytest.fixture(scope="module")
def surveyed(challenge: Challenge, made: dict[tuple[str, str], Proposal]) -> Survey:
    """A survey of five proposals, one for each way it can end."""
    golden = usable_golden(challenge, challenge.cases.values())
    mask = "visible = key_pos[None, :] <= query_pos[:, None]"
    chosen = [
        made[(mask, mask.replace("<=", ">="))],
        made[("Q = self.q_proj(query)", "Q = self.k_proj(query)")],
        made[("pieces = [past, new]", "pieces = [new, past]")],  # a bug that is there already
        made[("total_len = cache_len + seq_len", "total_len = cache_len")],
        made[("self.head_dim = d_model // num_heads", "self.head_dim = d_model % num_heads")],
    ]
    with start_sandbox(challenge) as box:
        box.ready()
        return survey(box, challenge, golden, candidates=chosen)


def test_a_survey_keeps_what_meets_the_rules_and_counts_the_rest(surveyed: Survey) -> None:
    assert [proposal.after for proposal, _ in surveyed.kept] == [
        "visible = key_pos[None, :] >= query_pos[:, None]",
        "Q = self.k_proj(query)",
    ]
    assert surveyed.proposed == 5
    assert surveyed.dropped == {acceptance.CRASHES: 2, acceptance.KNOWN: 1}


def test_what_is_said_of_a_bug_names_its_place_and_gives_the_line_only_at_last(
    challenge: Challenge, surveyed: Survey
) -> None:
    for proposal, found in surveyed.kept:
        said = texts(challenge, proposal)
        for text in (said.title, symptom(challenge, found), said.hints[0], said.hints[1]):
            assert proposal.before not in text
            assert proposal.after not in text
        assert proposal.before in said.hints[2]
        assert proposal.function in said.hints[0]
        assert len(said.title) <= 120
        assert all(text.strip().endswith((".", "?", '"')) for text in said.hints)


def test_equal_surveys_give_equal_bytes(challenge: Challenge, surveyed: Survey) -> None:
    first = file_bytes(document_of(challenge, surveyed, []))
    assert first == file_bytes(document_of(challenge, surveyed, []))
    assert first.count(b"\n") == len(surveyed.kept) + 2


def test_a_bug_that_few_cases_see_late_is_harder(challenge: Challenge) -> None:
    loud = verdicts(dict.fromkeys(challenge.cases, "wrong_value"), 1e6)
    quiet = verdicts({UNIT: "wrong_value", SCENARIO: "wrong_value"}, 100.0, step=2)
    easy = difficulty.score(challenge, "order", loud, traced=True)
    hard = difficulty.score(challenge, "alias", quiet, traced=False)
    assert 0 < easy < difficulty.MEDIUM_FROM
    assert difficulty.HARD_FROM < hard < 1
    assert not difficulty.needs_history(challenge, loud)
    assert difficulty.needs_history(challenge, quiet)


def test_bugs_of_another_reference_are_removed_by_recording(tmp_path: Path) -> None:
    source = ROOT / "challenges" / SMALL
    shutil.copytree(source, tmp_path / "challenges" / SMALL)
    shutil.copytree(ROOT / "reference", tmp_path / "reference")
    challenge = Catalogue(tmp_path).load(SMALL)
    assert not forget_stale(challenge)
    challenge.reference.write_text(f"{challenge.reference_text}\n# more\n")
    changed = Catalogue(tmp_path).load(SMALL)
    assert [subject for subject, _ in generated_faults(changed)] == ["generated.json"]
    assert forget_stale(changed)
    assert not changed.generated.exists()
    assert not forget_stale(changed)


def test_bugs_that_the_operators_make_no_more_are_removed_alone(tmp_path: Path) -> None:
    source = ROOT / "challenges" / SMALL
    shutil.copytree(source, tmp_path / "challenges" / SMALL)
    shutil.copytree(ROOT / "reference", tmp_path / "reference")
    challenge = Catalogue(tmp_path).load(SMALL)
    document = json.loads(challenge.generated.read_text("utf-8"))
    first, second = document["bugs"][:2]
    other = {**first, "id": "g-00000000"}
    document["bugs"].append(other)
    worded = {**second, "hints": ["", "", ""]}
    document["bugs"][1] = worded
    document["apart"] = [[second["id"], other["id"]], [first["id"], second["id"]]]
    challenge.generated.write_bytes(file_bytes(document))
    assert [subject for subject, _ in generated_faults(challenge)] == [other["id"]]
    assert bring_up_to_date(challenge) == 1
    left = json.loads(challenge.generated.read_text("utf-8"))
    assert left["bugs"] == [first, second, *document["bugs"][2:-1]]
    assert left["apart"] == [[first["id"], second["id"]]]
    assert sum(left["dropped"].values()) == sum(document["dropped"].values()) + 1
    assert bring_up_to_date(challenge) == 0
    assert not forget_stale(challenge)


def test_a_place_that_is_full_is_judged_no_further(
    challenge: Challenge, made: dict[tuple[str, str], Proposal]
) -> None:
    line = [p for p in made.values() if p.after.startswith("visible = key_pos")]
    found = verdicts({UNIT: "wrong_value", SCENARIO: "wrong_value"})
    choice = Choice([(proposal, found) for proposal in line[: acceptance.MOST_PER_LINE]])
    assert choice.is_full(line[-1])
    golden = usable_golden(challenge, challenge.cases.values())
    with start_sandbox(challenge) as box:
        box.ready()
        judge = Judge(box, challenge, golden, choice, KnownFaults(challenge, golden, {}))
        assert judge(line[-1]) == (verdicts_of({}), acceptance.CROWDED)


def test_the_recorded_bugs_belong_to_their_references() -> None:
    assert list(generated_faults(load_challenge(SMALL))) == []
