"""The difference between an edited copy and the reference becomes edits that make exactly that copy again."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from grader.content import ContentError, challenge_ids, load_challenge
from grader.content.edits_from_diff import MAX_LINES, MAX_PLACES, edits_of, entries_in
from grader.content.planting import apply_edits, line_span, plant

REFERENCE = """\
def one(x):
    y = x + 1
    return y


def two(x):
    y = x + 1
    z = y * 2
    return z
"""


@pytest.mark.parametrize("name", challenge_ids())
def test_every_shipped_entry_is_found_again(name: str) -> None:
    challenge = load_challenge(name)
    text = challenge.reference_text
    lines = {
        bug.id: {line for edit in bug.edits for line in line_span(text, edit)}
        for bug in challenge.bugs.values()
    }
    for bug in challenge.bugs.values():
        planted = plant(challenge, [bug.id])
        apart = {
            bug.id,
            *bug.excludes,
            *(x.id for x in challenge.bugs.values() if bug.id in x.excludes),
        }
        taken = {line: other for other in lines if other not in apart for line in lines[other]}
        (entry,) = entries_in(text, planted, "mine.py")
        edits = edits_of(text, entry.changes, taken, "mine.py")
        assert apply_edits(text, [(bug.id, edit) for edit in edits]) == planted
        assert not {line for edit in edits for line in line_span(text, edit)} & taken.keys()


LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n"]), min_size=2, max_size=12)


@settings(max_examples=500, suppress_health_check=[HealthCheck.filter_too_much])
@example(["\n", "a\n", "b\n"], ["a\n", "\n", "b\n", "a\n", "c\n", "b\n"], False, False)
@example(["a\n", "\n", "\n"], ["b\n", "a\n"], False, False)
@given(LINES, LINES, st.booleans(), st.booleans())
def test_whatever_is_edited_comes_out_again(
    old: list[str], new: list[str], cut_old: bool, cut_new: bool
) -> None:
    reference = "".join(old)[: -1 if cut_old else None]
    edited = "".join(new)[: -1 if cut_new else None]
    assume(reference and reference != edited)
    try:
        (entry,) = entries_in(reference, edited, "mine.py")
    except ContentError:
        assume(False)  # too far from the reference
    edits = edits_of(reference, entry.changes, {}, "mine.py")
    assert all(reference.count(edit.find) == 1 for edit in edits)
    assert apply_edits(reference, [("x", edit) for edit in edits]) == edited


def test_a_find_is_grown_until_it_stands_once_and_away_from_other_entries() -> None:
    edited = REFERENCE.replace("    y = x + 1\n    z", "    y = x + 2\n    z")
    (entry,) = entries_in(REFERENCE, edited, "mine.py")
    (edit,) = edits_of(REFERENCE, entry.changes, {}, "mine.py")
    assert edit.find == "    y = x + 1\n    z = y * 2\n"
    (edit,) = edits_of(REFERENCE, entry.changes, {7: "other"}, "mine.py")
    assert edit.find == "def two(x):\n    y = x + 1\n"
    with pytest.raises(ContentError, match="cannot be told from other text without line"):
        edits_of(REFERENCE, entry.changes, {5: "before", 7: "behind"}, "mine.py")


def test_marks_part_a_file_into_entries_and_are_never_planted() -> None:
    edited = (
        REFERENCE.replace("    return y\n", "    return y + 1  # bug: one-more\n")
        .replace("    z = y * 2\n", "    z = y * 3  # decoy: three\n")
        .replace("    return z\n", "    return z - 1  # bug: one-more\n")
    )
    first, second = entries_in(REFERENCE, edited, "mine.py")
    assert [(first.kind, first.id), (second.kind, second.id)] == [
        ("bug", "one-more"),
        ("decoy", "three"),
    ]
    made = [
        edit for entry in (first, second) for edit in edits_of(REFERENCE, entry.changes, {}, "")
    ]
    assert "#" not in "".join(edit.replace for edit in made)
    assert len(first.changes) == 2


def test_a_mark_alone_on_a_line_stands_for_lines_that_are_gone() -> None:
    edited = REFERENCE.replace("    z = y * 2\n", "    # bug: no-double\n")
    (entry,) = entries_in(REFERENCE, edited, "mine.py")
    assert (entry.id, entry.changes[0].lines) == ("no-double", ())
    (edit,) = edits_of(REFERENCE, entry.changes, {}, "mine.py")
    assert edit.replace == ""


def test_neighbouring_lines_can_belong_to_different_bugs() -> None:
    edited = REFERENCE.replace(
        "    z = y * 2\n    return z\n", "    z = y * 3  # bug: a\n    return -z  # bug: b\n"
    )
    first, second = entries_in(REFERENCE, edited, "mine.py")
    assert (first.id, first.changes[0].lines) == ("a", ("    z = y * 3\n",))
    assert (second.id, second.changes[0].lines) == ("b", ("    return -z\n",))


REFUSED = {
    "the reference": (REFERENCE, "is the reference"),
    "a mark beside nothing": (
        REFERENCE.replace("    return y\n", "    return y  # bug: none\n"),
        "the mark of 'none' stands beside nothing",
    ),
    "marks that mix kinds": (
        REFERENCE.replace("    return y\n", "    return -y  # bug: a\n").replace(
            "    return z\n", "    return -z  # decoy: a\n"
        ),
        "'a' is marked as a bug and as a decoy",
    ),
    "one change without a mark": (
        REFERENCE.replace("    return y\n", "    return -y  # bug: a\n").replace(
            "    return z\n", "    return -z\n"
        ),
        "the change at line 9 of the reference has no mark",
    ),
    "two bugs in one change": (
        REFERENCE.replace(
            "    z = y * 2\n    return z\n",
            "    z = y  # bug: a\n    z *= 3\n    return -z  # bug: b\n",
        ),
        "change together and are marked 'a', 'b'",
    ),
    "another file": ("import os\n" * 40, "a bug takes"),
    "a much longer file": ("x = 1\n" * 100_000, "edit a copy of the reference"),
    "nothing": ("", "a bug takes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_edited_copy_is_refused(name: str) -> None:
    edited, says = REFUSED[name]
    reference = REFERENCE + "".join(f"a{n} = {n}\n" for n in range(MAX_LINES))
    edited = reference if edited == REFERENCE else edited.replace(REFERENCE, reference)
    if edited.startswith("def one"):
        edited += reference[len(REFERENCE) :] if not edited.endswith(reference[-9:]) else ""
    with pytest.raises(ContentError, match=rf"^mine\.py: .*{says}") as told:
        entries_in(reference, edited, "mine.py")
    assert "\n" not in str(told.value)


def test_too_many_places_are_refused() -> None:
    reference = "".join(f"a{n} = {n}\nb{n} = {n}\n" for n in range(MAX_PLACES + 1))
    with pytest.raises(ContentError, match=f"in {MAX_PLACES + 1} places"):
        entries_in(reference, reference.replace("a", "c"), "mine.py")
