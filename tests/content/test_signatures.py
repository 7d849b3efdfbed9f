"""A helper of the file's own, which happens to bear a name of ours, is not judged as ours."""

from __future__ import annotations

import pytest

from grader.content import load_challenge
from grader.content.signatures import foreign_helpers

CHALLENGE = load_challenge("static_cache")
OURS = "def _slots(seq_lens, added):\n    return 1\n"


@pytest.mark.parametrize(
    ("source", "foreign"),
    [
        (CHALLENGE.reference_text, set()),
        (OURS, set()),
        ("def _slots(seq_lens, *, added):\n    return 1\n", set()),
        ("def _slots(lengths, added):\n    return 1\n", {"_slots"}),
        ("def _slots(seq_lens):\n    return 1\n", {"_slots"}),
        ("class A:\n    def _slots(self):\n        return 1\n", {"_slots"}),
        ("class A:\n    def _slots(self, seq_lens, added):\n        return 1\n", set()),
        (
            "class A:\n    @staticmethod\n    def _slots(seq_lens, added):\n        return 1\n",
            set(),
        ),
        ("class A:\n    @staticmethod\n    def _slots(x, seq_lens, added): pass\n", {"_slots"}),
        (
            "class A:\n    @classmethod\n    def _slots(cls, seq_lens, added):\n        return 1\n",
            set(),
        ),
        ("class A:\n    @property\n    def _slots(self):\n        return 1\n", {"_slots"}),
        ("class A:\n    @functools.cached_property\n    def _slots(self): return 1\n", {"_slots"}),
        (
            "class A:\n    @functools.lru_cache(None)\n    def _slots(self, seq_lens, added): pass\n",
            set(),
        ),
        ("@overload\ndef _slots(a): ...\ndef _slots(seq_lens, added): pass\n", set()),
        (
            "@typing.overload\ndef _slots(seq_lens, added): ...\ndef _slots(*args): pass\n",
            {"_slots"},
        ),
        ("def _slots(*args):\n    return 1\n", {"_slots"}),
        ("def _slots(seq_lens, added, **more):\n    return 1\n", {"_slots"}),
        ("async def _slots(seq_lens, added):\n    return 1\n", {"_slots"}),
        ("_slots = lambda seq_lens, added: 1\n", set()),
        ("_slots = lambda lens: 1\n", {"_slots"}),
        ("_slots = functools.partial(f, 1)\n", {"_slots"}),
        ("from mine import f as _slots\n", {"_slots"}),
        ("from mine import f\n_slots = f\n", {"_slots"}),
        ("def slots(seq_lens, added): pass\n_slots = slots\n", set()),
        ("def slots(x): pass\n_slots = slots\n", {"_slots"}),
        (
            "class A:\n    @staticmethod\n    def go(seq_lens, added): pass\n_slots = A.go\n",
            set(),
        ),
        ("class A:\n    def go(self, seq_lens, added): pass\n    _slots = go\n", set()),
        (
            "def slots(seq_lens, added): pass\nclass A:\n"
            "    def __init__(self, slots): self._slots = slots\n",
            {"_slots"},
        ),
        ("class A:\n    def __init__(self):\n        self._slots = ()\n", {"_slots"}),
        ("class A:\n    _slots: tuple\n", {"_slots"}),
        ("def f(a):\n    a.k, (a._slots, *b) = x\n", {"_slots"}),
        ("class _slots:\n    pass\n", {"_slots"}),
        (OURS + "class A:\n    def __init__(self):\n        self._slots = ()\n", set()),
        ("def _other(x):\n    return _slots\n", set()),
        ("_slots = 3\n", {"_slots"}),
        ("x = '_slots' + (", set()),
        ("_slots" + "(" * 9999, set()),
        ("", set()),
    ],
)
def test_parameters_tell_whose_helper_it_is(source: str, foreign: set[str]) -> None:
    assert foreign_helpers(CHALLENGE, source, ["_slots", "_longest"]) == foreign


def test_only_helpers_that_are_asked_for_are_looked_at() -> None:
    assert foreign_helpers(CHALLENGE, "def _slots(): return 1\n", ["_longest"]) == set()


def test_a_name_of_the_contract_is_never_foreign() -> None:
    public = [name for name in CHALLENGE.provides if not name.startswith("_")]
    source = "".join(f"def {name}(): return 1\n" for name in public)
    assert public
    assert foreign_helpers(CHALLENGE, source, public) == set()


def test_a_helper_of_which_the_brief_says_nothing_is_nobody_s_but_the_starter_s() -> None:
    chat = load_challenge("conversation_prefix")
    mine = "class Conversation:\n    def _commit(self, messages): self.messages = messages\n"
    assert "_commit" not in chat.brief
    assert foreign_helpers(chat, mine, ["_commit"]) == {"_commit"}
    assert foreign_helpers(chat, chat.starter.read_text(), ["_commit"]) == set()
    shared = "def reusable_prefix(cached, wanted): return len(cached)\n"
    assert "reusable_prefix" not in chat.brief
    assert foreign_helpers(chat, mine + shared, ["reusable_prefix"]) == {"reusable_prefix"}
    assert foreign_helpers(chat, chat.starter.read_text(), ["reusable_prefix"]) == set()
    # the brief of this one names it
    assert foreign_helpers(CHALLENGE, OURS, ["_slots"]) == set()
