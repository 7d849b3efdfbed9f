"""The form of `cases.json`: what most cases share stands once at its head, and every step takes one line.

    {
     "$schema": "recorded/cases.schema.json",
     "defaults": {"dtype": "float32", "setup": {"batch": 3, "query_heads": 8, "capacity": 40}},
     "cases": [
      {"id": "chunks-3-3-2", "title": "The same row in chunks", "seed": 102, "kind": "scenario", "tags": ["chunk"],
       "why": "Finds masks that are right for a prefill and wrong behind a prefix.",
       "setup": {"batch": 1, "capacity": null},
       "steps": [
        {"do": "forward", "tokens": 3, "save": "a"},
        {"do": "forward", "tokens": 3, "cache": "a"}]}
     ]
    }

A case's own `setup` is laid over the default one, name by name, and `null` takes a default away: the case above has
the setup `{"batch": 1, "query_heads": 8}`.  What is judged, digested and added by `kvdojo case add` is always the
whole case, so the defaults of a file can change while its cases stay the same.

A size that a case states itself is kept on secret inputs, where one that comes from the defaults may vary.  So a case
that needs `"block_size": 4` states it even where that is the default, and keeps it when the file is written anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from grader.content.content_errors import ContentError

Entry = dict[str, Any]
HEAD = ("id", "title", "seed", "kind", "dtype", "points", "visibility", "tags")  # on one line
BODY = ("why", "keep_because", "setup")  # on a line each


def expand(document: Any, name: str) -> list[Any]:
    """Return the cases of a document of this form, each complete in itself.

    An entry that is no object is returned as it is, for a schema to complain about.  Raises ContentError, naming the
    file `name`, where `defaults` or `cases` cannot be used at all.
    """
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        raise ContentError(f"{name}: $.cases: an array is expected")
    defaults = document.get("defaults", {})
    if not isinstance(defaults, dict) or not isinstance(defaults.get("setup", {}), dict):
        raise ContentError(f"{name}: $.defaults: an object is expected, and one as its `setup`")
    return [_whole(entry, defaults) for entry in document["cases"]]


def free_sizes(document: Any) -> list[frozenset[str]]:
    """Return, for each case that `expand` gives, the sizes that it has from the defaults alone."""
    usual = document.get("defaults", {}).get("setup", {}).keys()
    own = [entry.get("setup") if isinstance(entry, dict) else None for entry in document["cases"]]
    return [frozenset(usual - setup.keys() if isinstance(setup, dict) else usual) for setup in own]


def shorten(document: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> Entry:
    """Return a document with these whole cases in it, in which nothing is said twice.

    `document` gives its `$schema`, the `defaults` where it has them, and the sizes that its cases state on purpose.
    Without defaults those are chosen that most cases share.  `expand` of what is returned gives the same cases.
    """
    defaults = document.get("defaults") or _shared(cases)
    head = {key: value for key, value in document.items() if key not in ("defaults", "cases")}
    if defaults:
        head["defaults"] = defaults
    stated = {case["id"]: case.get("setup", {}).keys() for case in document.get("cases", ())}
    return {**head, "cases": [_short(c, defaults, stated.get(c["id"], ())) for c in cases]}


def cases_bytes(document: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the text of `cases.json` that `shorten` gives, in the layout that this module describes."""
    short = shorten(document, cases)
    lines = ["{"]
    lines += [f" {_plain(key)}: {_plain(value)}," for key, value in short.items() if key != "cases"]
    lines.append(' "cases": [')
    lines.append(",\n".join(map(_case, short["cases"])))
    return "\n".join([*lines, " ]", "}", ""]).encode()


def _whole(entry: Any, defaults: Mapping[str, Any]) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get("setup", {}), dict):
        return entry
    whole = {**defaults, **entry}
    usual, own = defaults.get("setup", {}), entry.get("setup", {})
    if "setup" in whole:
        left_out = {size for size, value in own.items() if value is None and size in usual}
        merged = {**usual, **own}
        whole["setup"] = {size: value for size, value in merged.items() if size not in left_out}
    return whole


def _shared(cases: Sequence[Mapping[str, Any]]) -> Entry:
    """Return the dtype that most cases have, and each size that more than half of them have."""
    defaults: Entry = {}
    if not all(isinstance(case, dict) and {"dtype", "setup"} <= case.keys() for case in cases):
        return defaults
    if dtypes := Counter(_plain(case["dtype"]) for case in cases):
        defaults["dtype"] = json.loads(dtypes.most_common(1)[0][0])
    values: dict[str, Counter[str]] = {}
    for case in cases:
        for size, value in case["setup"].items():
            values.setdefault(size, Counter())[_plain(value)] += 1
    usual = {}
    for size, counts in values.items():
        value, count = counts.most_common(1)[0]
        if 2 * count > len(cases) and "null" not in counts:
            usual[size] = json.loads(value)
    return {**defaults, "setup": usual} if usual else defaults


def _short(case: Mapping[str, Any], defaults: Mapping[str, Any], stated: Collection[str]) -> Entry:
    kept = {
        key: value
        for key, value in case.items()
        if key == "setup" or key not in defaults or not _same(value, defaults[key])
    }
    usual = defaults.get("setup")
    if usual is None or "setup" not in kept:
        return kept
    own = {
        size: value
        for size, value in case["setup"].items()
        if size in stated or size not in usual or not _same(value, usual[size])
    }
    own |= {size: None for size in usual if size not in case["setup"]}
    if own:
        kept["setup"] = own
    else:
        del kept["setup"]
    return kept


def _case(case: Mapping[str, Any]) -> str:
    head = {key: case[key] for key in HEAD if key in case}
    body = sorted(case.keys() - {*HEAD, "steps"}, key=_place)
    lines = [f"  {{{_plain(head)[1:-1]},"]
    lines += [f"   {_plain(key)}: {_plain(case[key])}," for key in body]
    steps = ",\n".join(f"    {_plain(step)}" for step in case["steps"])
    return "\n".join([*lines, f'   "steps": [\n{steps}]}}'])


def _place(key: str) -> tuple[int, str]:
    return (BODY.index(key) if key in BODY else len(BODY), key)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON; in Python 1, 1.0 and True are equal too."""
    return _plain(one) == _plain(other)


def _plain(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # half of a character can be written as an escape only
    return text if text.isascii() or _encodes(text) else json.dumps(value)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
