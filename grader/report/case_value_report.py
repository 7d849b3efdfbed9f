"""What a case is worth, for people and for programs."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from grader.author.case_value import CaseValue
from grader.content import Challenge

MANY = 12  # names listed before the rest is counted


def worth_lines(challenge: Challenge, worth: CaseValue) -> list[str]:
    """Return the findings as lines for the terminal."""
    bugs = sum(bug.kind == "bug" for bug in challenge.bugs.values())
    decoys = len(challenge.bugs) - bugs
    price = worth.price
    lines = [
        f"{worth.case.id} ({worth.case.kind})",
        f"  price      {price.numbers:,} numbers drawn, {price.work:,} multiplications at most,"
        f" {worth.seconds:.2f} s",
        f"  reference  finite, the same when asked again; {decoys} decoys pass",
        f"  kills      {len(worth.kills)} of {bugs} bugs",
    ]
    width = max(map(len, worth.kills), default=0)
    for name in worth.kills:
        note = "  no other case does" if name in worth.alone else ""
        note = note or (f"  the first {worth.case.kind} case" if name in worth.new_kind else "")
        lines.append(f"    {name:{width}}{note}".rstrip())
    if worth.refused or (challenge.trivial_solutions and worth.case.kind == "scenario"):
        text = f"{len(worth.refused)} of {len(challenge.trivial_solutions)} trivial answers: "
        lines += _wrapped("refuses", text + _names(worth.refused))
    if worth.nearest:
        ratio, name = worth.nearest
        lines.append(f"  margin     {ratio:.3g} tolerances, to {name}")
    if worth.replaces:
        what = "case catches" if len(worth.replaces) == 1 else "cases catch"
        text = f"{_names(worth.replaces)}: {what} nothing that this one does not"
        lines += _wrapped("redundant", text)
    if worth.covered_by:
        lines += _wrapped("covered by", f"{_names(worth.covered_by)}: catch all that this one does")
    return lines


def worth_document(challenge: Challenge, worth: CaseValue, *, added: bool) -> dict[str, Any]:
    """Return the findings as `kvdojo/case-worth/v1`."""
    ratio, name = worth.nearest or (None, None)
    return {
        "schema": "kvdojo/case-worth/v1",
        "challenge": challenge.id,
        "case": worth.case.id,
        "added": added,
        "objections": list(worth.objections),
        "price": {"numbers": worth.price.numbers, "multiplications": worth.price.work},
        "kills": list(worth.kills),
        "only_this_case_kills": list(worth.alone),
        "first_of_its_kind_to_kill": list(worth.new_kind),
        "makes_redundant": list(worth.replaces),
        "covered_by": list(worth.covered_by),
        "trivial_answers": {"refused": list(worth.refused), "accepted": list(worth.accepted)},
        "margin": None if ratio is None else {"tolerances": float(f"{ratio:.6g}"), "answer": name},
    }


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return (", ".join(names[:MANY]) or "none") + more


def _wrapped(head: str, text: str) -> list[str]:
    indent = " " * 13
    return wrap(
        text, 98, initial_indent=f"  {head:11}", subsequent_indent=indent, break_on_hyphens=False
    )
