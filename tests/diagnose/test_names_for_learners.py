"""What a trace calls a place is a name from the brief or plain words, never a private name of the starter."""

from __future__ import annotations

import json
import re

import pytest

from grader.content import load_challenge
from grader.ground.paths import ROOT

TRACED = sorted(path.parent.name for path in (ROOT / "challenges").glob("*/points.json"))
# words of the field, and of English, that a learner knows without any brief
PLAIN = set(
    re.findall(
        r"\w+",
        """
    a accepted after an and append at attention back before beginnings block check cleared clone combined context copy
    cos cut each encoding end factor far forgotten found free frequencies from greedy group handed in info input inputs
    into is it kept key keys kv largest leaf left length limit log longest make map mask masked member merge message
    needed new newest of on output position positions prefix product products projection projections query recurrent
    reusable rotation row run running sample scores seen sin so softmax split sum stored system tensor the times to
    token tokens until use value values visible was weights what with write wrote
""",
    )
)
# single words that name a thing; a verb alone (`advance`, `pick`) would be the name of a function
TOO_SHORT = {
    "accepted",
    "append",
    "check",
    "cut",
    "found",
    "kept",
    "make",
    "map",
    "merge",
    "split",
    "use",
    "write",
}


@pytest.mark.parametrize("name", TRACED)
def test_a_place_is_called_as_the_brief_calls_it_or_in_plain_words(name: str) -> None:
    folder = load_challenge(name).folder
    brief = (folder / "brief.md").read_text("utf-8").lower()
    brief = re.sub(r"<!--.*?-->", "", brief, flags=re.DOTALL)
    known = set(re.findall(r"[a-z]+", brief)) | PLAIN
    for point in json.loads((folder / "points.json").read_text("utf-8"))["points"]:
        title = point.get("title") or point["name"]
        words = re.findall(r"[a-z_]+", title.lower())
        unknown = [w for w in words if not {w, w.rstrip("s"), f"{w}s"} & known]
        assert not unknown, f"{title!r}: neither the brief nor common words: {unknown}"
        assert "_" not in title, f"{title!r} is a name in the code"
        assert title not in TOO_SHORT, f"{title!r}: say of what"
        method = re.split("[.>]", point.get("method", ""))[-1]
        if method.startswith("_") and f"`{method}" not in brief:
            assert title != method.strip("_"), f"{title!r} is the name of a private function"
