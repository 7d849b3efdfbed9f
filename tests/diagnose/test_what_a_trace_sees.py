"""What a trace sees beside wrong numbers: shared memory, padding, the cached part, kernels, a dead process."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from grader.content import load_challenge
from grader.content.catalogue import challenge_ids
from grader.content.planting import plant
from grader.diagnose.checkpoints import IN_WORKER, load_checkpoints, stage_of
from grader.diagnose.record_case import traced_driver
from grader.diagnose.trace_case import trace_case
from grader.judge.error_patterns import Pattern

WM, PAGED = "world_model_cache", "paged_cache"


@pytest.fixture(scope="module")
def traced(sandbox_for):
    def run(name: str, source: str, case: str):
        challenge = load_challenge(name)
        return trace_case(sandbox_for(name), challenge, challenge.cases[case], source.encode())

    return run


@pytest.mark.parametrize(
    ("name", "bug", "case", "said"),
    [
        (
            WM,
            "seed-pool-returns-live-reference",
            "two-branches-from-one-root",
            "keeps share an object",
        ),
        (WM, "pool-keeps-callers-object", "two-branches-from-one-root", "its arguments share"),
        (WM, "env-pools-share-one-object", "same-state-in-two-environments", "one object twice"),
        (
            WM,
            "left-padding-not-masked",
            "roots-and-leaves-in-one-batch",
            "Only padded rows are wrong",
        ),
        (WM, "seed-legacy-attrs-left-empty", "a-new-episode", "expected not there"),
        (PAGED, "int32-offset-overflow", "far-apart", "expected int64, got int32"),
        (PAGED, "tail-block-dropped", "two-splits", "goes on to round 2, your file ends after 1"),
        (PAGED, "k-cache-used-as-v", "scattered-pages", "It holds the numbers of `keys of a tile`"),
        ("decode_positions", "generate-keeps-old-context", "generate-after-forward", "`reset`"),
    ],
)
def test_the_first_difference_says_how_and_names_stage_and_family(
    traced, name, bug, case, said
) -> None:
    challenge = load_challenge(name)
    first = traced(name, plant(challenge, [bug]), case).divergence
    assert first is not None
    assert said in " ".join([first.sentence(), *first.checkpoint.sentences])
    assert first.stage == stage_of(challenge, load_checkpoints(challenge), bug)
    assert first.bug_class_by_place == challenge.bugs[bug].family


def test_a_file_that_goes_other_ways_parts_where_its_answers_do(traced) -> None:
    folder = Path(__file__).parents[1] / "correct" / "decode_positions"
    source = (folder / "functional_paged.py").read_text("utf-8")
    assert traced("decode_positions", source, "prompt").divergence is None
    wrong = source.replace("torch.sqrt(", "torch.abs(", 1)
    assert wrong != source
    first = traced("decode_positions", wrong, "prompt").divergence
    assert first is not None
    assert (first.stage, first.checkpoint.name) == ("output", "logits")


HOSTILE = """
    def get(self, key):
        class Odd:
            def __getattr__(self, name):
                raise SystemExit(3)
            def __len__(self):
                return -1
        nested = []
        nested.append(nested)
        self.nested = [nested] * 5000
        self.__dict__[1] = self.__dict__
        self.set(nested, Odd(), {"again": nested})
        return Odd()

    def _put_away(self, key):"""


def test_what_an_object_shows_may_be_hostile(traced) -> None:
    challenge = load_challenge(WM)
    text = challenge.reference_text
    start = text.index("class KVCachePool")
    source = text[:start] + text[start:].replace(
        "\n    def get(self, key: Hashable) -> KeysValues | None:", HOSTILE, 1
    )
    made = traced(WM, source, "two-branches-from-one-root")
    assert made.divergence or made.ended


def test_a_document_is_told_in_one_line() -> None:
    challenge = load_challenge("broken_test")
    case = challenge.cases["accepts-the-kernel"]
    made = trace_case(None, challenge, case, challenge.reference_text.encode())  # type: ignore[arg-type]
    assert "no first wrong number" in (made.ended or "")
    assert not made.steps


REWORDED = [
    (WM, "left-padding-not-masked", "roots-and-leaves-in-one-batch"),
    (PAGED, "k-cache-used-as-v", "scattered-pages"),
    ("multi_head_attention", "seed-scale-missing-sqrt", "chunks-3-3-2"),
    ("multi_head_attention", "seed-split-heads-view-order", "chunks-3-3-2"),
    ("multi_head_attention", "causal-top-left-with-cache", "chunks-3-3-2"),
]


@pytest.mark.parametrize(("name", "bug", "case"), REWORDED)
def test_a_diagnosis_does_not_depend_on_the_words_of_a_sentence(
    traced, monkeypatch, name, bug, case
) -> None:
    def diagnosis():
        first = traced(name, plant(load_challenge(name), [bug]), case).divergence
        point = first.checkpoint
        kinds = [pattern.kind for pattern in point.patterns]
        return first.stage, first.bug_class_by_place, point.name, point.kinds, kinds

    def reworded(self, kind: str, text: str) -> None:
        self.__dict__.update(kind=kind, text=f"In other words ({len(text)} letters).")

    as_worded = diagnosis()
    monkeypatch.setattr(Pattern, "__init__", reworded)
    assert diagnosis() == as_worded


def names_of(text: str) -> set[str]:
    """Return the names that a module defines."""
    found: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.Assign):
            found |= {part.id for part in node.targets if isinstance(part, ast.Name)}
    return found


def test_the_parts_of_the_recorder_hide_no_name_of_each_other() -> None:
    parts = [names_of(path.read_text("utf-8")) for path in IN_WORKER]
    assert sum(map(len, parts)) == len(set().union(*parts))


@pytest.mark.parametrize("name", challenge_ids())
def test_the_recorder_replaces_only_the_verbs_of_a_driver(name) -> None:
    challenge = load_challenge(name)
    text = traced_driver(challenge, load_checkpoints(challenge)).decode()
    assert text.startswith(challenge.driver.decode())
    added = text.removeprefix(challenge.driver.decode())
    assert names_of(added) == {"__recorder__", "Verbs"}
