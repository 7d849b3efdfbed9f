"""An author's mistakes are told in one line, with the line of the driver; sound drivers say what a case may ask."""

from __future__ import annotations

from typing import Any

import pytest

from grader.content import ContentError

DRIVER = '''from grader.kit import both_sides, choice, drawn, helper, made, spoil, verb, whole

Tokens = whole(0, 9, "Tokens.")


class Setup:
    """Sizes."""

    batch: whole(1, 8, "Rows.")


@drawn(query="Query [B, S]", key="Key [B, S]")
def new(case, tokens: Tokens = 1):
    return case.draw(case.batch, tokens), case.draw(case.batch, tokens)


@made("past")
def past(case, fill: whole(0, "batch", "Filled.")):
    return fill


@verb("output", spoils={"short": spoil("query", lambda x: x[:, :-1])}, may_change="past")
def forward(file, query, past, causal: choice(("yes", "no"), "Mask.") = "yes"):
    """Call forward."""
    return file._forward(query, past)


slots = helper("_slots", "slots", past=past, tokens=Tokens)

Plan, Verbs = both_sides(globals())
'''


def test_a_sound_driver_passes_and_says_what_a_case_may_ask(checked: Any) -> None:
    driver = checked(DRIVER)
    assert list(driver.verbs) == ["forward", "slots"]
    assert list(driver.verbs["forward"].parameters) == ["tokens", "query", "fill", "causal"]
    assert list(driver.verbs["slots"].parameters) == ["fill", "tokens"]
    assert list(driver.setup) == ["batch"]
    assert driver.all_helpers() == ["_forward", "_slots"]


MISTAKES = {
    "a plain type for an argument": (
        ('causal: choice(("yes", "no"), "Mask.") = "yes"', "causal: bool = True"),
        "verb `forward`: `causal` is annotated with `bool`; a kind is expected, such as",
        22,
    ),
    "a plain type for a source's argument": (
        ("tokens: Tokens = 1", "tokens: int = 1"),
        "`tokens` is annotated with `int`; a kind is expected",
        12,
    ),
    "no annotation in a source": (
        ("tokens: Tokens = 1", "tokens=1"),
        "`tokens` of `new` has no annotation",
        12,
    ),
    "a plain type for a size": (
        ('batch: whole(1, 8, "Rows.")', "batch: int"),
        "`Setup.batch` is annotated with `int`; a kind is expected",
        6,
    ),
    "an unknown source": (
        ("def forward(file, query, past,", "def forward(file, queri, past,"),
        "verb `forward`: nothing makes `queri`: annotate it with what a case may state, or let a source make an"
        " input of this name; did you mean `query`?",
        22,
    ),
    "a name that its source does not make": (
        ("def forward(file, query, past,", "def forward(file, q: new, past,"),
        "verb `forward`: `q` is none of what `new` makes: `query`, `key`",
        22,
    ),
    "an empty range": (("whole(0, 9,", "whole(10, 9,"), "the range from 10 to 9 is empty", 3),
    "a bound that is no size": (
        ('"batch", "Filled."', '"batches", "Filled."'),
        "`fill` is bounded by `batches`, which is no size of `Setup`; did you mean `batch`?",
        17,
    ),
    "a default out of range": (
        ("tokens: Tokens = 1", "tokens: Tokens = 10"),
        "the default 10 of `tokens` is not what the case may state",
        12,
    ),
    "a default that is no choice": (
        ('= "yes")', '= "maybe")'),
        "verb `forward`: the default 'maybe' of `causal` is not what the case may state",
        22,
    ),
    "a verb declared twice": (
        ("slots = helper(", '@verb\ndef forward(file):\n    """Again."""\n\n\nslots = helper('),
        "`forward` is declared a second time; the first is in line 23",
        29,
    ),
    "a verb under the name of a source": (
        ("slots = helper(", "past = helper("),
        "`past` is declared a second time; the first is in line 18",
        28,
    ),
    "an imported name taken for something else": (
        ("slots = helper(", "def whole(x):\n    return x\n\n\nslots = helper("),
        "`whole` is declared a second time; the first is in line 1",
        28,
    ),
    "a spoilt argument that is not there": (
        ('spoil("query"', 'spoil("queri"'),
        "verb `forward`: `short` spoils `queri`, which is no argument; did you mean `query`?",
        22,
    ),
    "a changed input that is not there": (
        ('may_change="past"', 'may_change="pasd"'),
        "verb `forward`: `may_change` names `pasd`, which no source makes; did you mean `past`?",
        22,
    ),
    "a parameter that a step means otherwise": (
        ("causal: choice", "save: choice"),
        "verb `forward`: no parameter can be called `save`; a step says something else with it",
        22,
    ),
    "two meanings of a parameter": (
        ("causal: choice", "tokens: choice"),
        "verb `forward`: two of its sources take `tokens` and mean different things by it",
        22,
    ),
    "a size that a source means otherwise": (
        (
            'batch: whole(1, 8, "Rows.")',
            'draw: whole(1, 8, "Rows.")\n    batch: whole(1, 8, "Rows.")',
        ),
        "no size can be called `draw`",
        6,
    ),
    "a helper's argument that is nothing": (
        ("tokens=Tokens)", "tokens=3)"),
        "verb `slots`: `tokens` is 3; a kind or a source is expected",
        28,
    ),
    "a source that makes nothing": (('@made("past")', "@made()"), "`past` makes nothing", 17),
    "no sizes": (("class Setup:", "class Sizes:"), "there is no class `Setup`", None),
    "an annotation that cannot be evaluated": (
        ("causal: choice", "causal: choose"),
        "cannot be loaded: NameError: name 'choose' is not defined",
        23,
    ),
    "an error when it is loaded": (
        ("slots = helper", "1 / 0\nslots = helper"),
        "cannot be loaded: ZeroDivisionError: division by zero",
        28,
    ),
    "no Python": (("class Setup:", "class Setup"), "is no Python: expected ':'", 6),
    "no last line": (
        ("Plan, Verbs = both_sides(globals())", ""),
        "its last line must be `Plan, Verbs = both_sides(globals())`",
        None,
    ),
    "a `use` of words that are not the kit's": (
        ("may_change=", "may_changes="),
        "unexpected keyword argument 'may_changes'",
        22,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_line(name: str, checked: Any) -> None:
    (old, new), told, line = MISTAKES[name]
    assert DRIVER.count(old) >= 1
    with pytest.raises(ContentError) as caught:
        checked(DRIVER.replace(old, new, 1))
    said = str(caught.value)
    assert said.startswith(f"/tmp/driver.py:{line}: " if line else "/tmp/driver.py: "), said
    assert told in said
    assert "\n" not in said


def test_late_annotations_are_told_too(checked: Any) -> None:
    """As in a module with `from __future__ import annotations`, and everywhere from Python 3.14 on."""
    late = DRIVER.replace("causal: choice", "causal: choose")
    told = "an annotation of `forward` cannot be evaluated: name 'choose' is not defined"
    with pytest.raises(ContentError, match=told):
        checked("from __future__ import annotations\n" + late)


def test_the_order_of_inputs_is_that_of_the_arguments(checked: Any) -> None:
    """What is drawn depends on the order of the sources, so an argument that moves would move every input."""
    sources = checked(DRIVER).verbs["forward"].sources
    assert [item.name for item in sources] == ["new", "past"]
    moved = DRIVER.replace("file, query, past,", "file, past, query,")
    assert [item.name for item in checked(moved).verbs["forward"].sources] == ["past", "new"]


NAMES = '''

@verb
def looks(file, deep: whole(0, 1, "D.")):
    """Look."""
    first = file._second if deep else file._first
    inner = lambda x: x._third(file.__class__._fourth)
    first._stored = 1
    [item._fifth for item in file._second]
    file._sixth()._seventh[0]._eighth
    _plain = file.public
    return inner


Plan, Verbs ='''


def test_helpers_are_what_the_text_looks_up_in_its_order(checked: Any) -> None:
    """The same in every version of Python, whose byte code differs."""
    driver = checked(DRIVER.replace("\n\nPlan, Verbs =", NAMES))
    names = "_second _first _third _fourth _fifth _sixth _seventh _eighth"
    assert driver.helpers(driver.verbs["looks"]) == names.split()
