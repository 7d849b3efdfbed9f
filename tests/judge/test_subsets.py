"""The quick part of `benchmarks.subsets`: seeded subsets of bugs refused, subsets of decoys accepted."""

from __future__ import annotations

import random

import pytest

from benchmarks.subsets import subsets
from grader.author.kill_matrix import first_kill, telling_first
from grader.author.wrong_variants import decoy_ids, planted, sample
from grader.content import challenge_ids, load_challenge
from grader.judge.golden_check import usable_golden


@pytest.mark.parametrize("name", challenge_ids())
def test_random_subsets_of_bugs_are_refused(name: str, sandbox_for) -> None:
    challenge = load_challenge(name)
    golden = usable_golden(challenge, challenge.cases.values())
    known = {bug.id: bug.witnesses for bug in challenge.bugs.values()}
    for ids in sample(challenge, 25, seed=9, least=1):
        source, cases = planted(challenge, *ids), telling_first(challenge, known, ids)
        assert first_kill(sandbox_for(name), challenge, golden, source, cases), ids


@pytest.mark.parametrize("name", challenge_ids())
def test_some_subsets_of_decoys_are_accepted(name: str, sandbox_for) -> None:
    challenge = load_challenge(name)
    cases = list(challenge.cases.values())
    golden = usable_golden(challenge, cases)
    for ids in random.Random(4).sample(subsets(decoy_ids(challenge), 0), 3):
        source = planted(challenge, *ids)
        refused = first_kill(sandbox_for(name), challenge, golden, source, cases)
        assert refused is None, (ids, refused)
