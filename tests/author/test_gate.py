"""The gate lets a sound challenge through and names every violation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from grader.author import static_checks
from grader.author.gate import check_challenge
from grader.author.recording import record, reload
from grader.author.violation import Violation, located
from grader.content import Challenge, ContentError
from grader.judge import grade_source
from grader.judge.golden_check import usable_golden
from grader.sandbox import Sandbox

Make = Callable[..., Challenge]


def texts(challenge: Challenge, sandbox: Sandbox) -> str:
    report = check_challenge(challenge, sets=3, sandbox=sandbox)
    return "\n".join(f"{violation.subject}: {violation.text}" for violation in report.violations)


def test_a_sound_challenge_passes(make: Make, tiny_sandbox: Sandbox) -> None:
    challenge = make()
    report = check_challenge(challenge, sets=3, sandbox=tiny_sandbox)
    assert report.violations == []
    assert (report.bugs, report.decoys, report.cases) == (2, 1, 3)
    assert report.margin is not None
    assert report.margin > 10
    assert challenge.bugs["forgets"].witnesses == ("unit-add", "twice")


def test_recording_twice_gives_the_same_bytes(make: Make, tiny_sandbox: Sandbox) -> None:
    challenge = make()
    first = {path: path.read_bytes() for path in challenge.folder.rglob("*") if path.is_file()}
    record(tiny_sandbox, challenge)
    again = {path: path.read_bytes() for path in challenge.folder.rglob("*") if path.is_file()}
    assert again == first


def test_outputs_are_judged_in_one_order(make: Make, tiny_sandbox: Sandbox) -> None:
    def spoil(files: dict[str, Any]) -> None:
        many = ", ".join(f'"{name}": file.keep.sum.total + {n}' for n, name in enumerate("kjihgfe"))
        files["driver.py"] = files["driver.py"].replace(
            '@verb("total")\ndef add(file, x):\n    """Add to the sum."""\n    return file.keep.sum.add(x)',
            '@verb\ndef add(file, x):\n    return {"total": file.keep.sum.add(x), "parts": {'
            + many
            + "}}",
        )

    challenge = make(spoil)
    steps = usable_golden(challenge, challenge.cases.values()).cases["twice"].steps
    assert list(steps[1].tensors) == ["total", *(f"parts/{name}" for name in "efghijk")]
    assert list(steps[2].tensors) == list(steps[1].tensors)


def bugs(files: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = files["bugs.json"]["bugs"]
    return found


def cases(files: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = files["cases.json"]["cases"]
    return found


def change(
    target: Callable[[dict[str, Any]], Any], **values: Any
) -> Callable[[dict[str, Any]], None]:
    return lambda files: target(files).update(values)


def test_each_breach_names_its_file(make: Make, tiny_sandbox: Sandbox) -> None:
    challenge = make(lambda f: cases(f).pop(1))
    report = check_challenge(challenge, sets=3, sandbox=tiny_sandbox)
    assert [violation.file for violation in report.violations] == ["challenges/tiny/bugs.json"]

    files = {name: located(challenge, Violation("tiny", name, "")).file for name in FILES_OF}
    assert files == {name: f"{folder}{file}" for name, (folder, file) in FILES_OF.items()}


FILES_OF = {
    "reference": ("reference/", "tiny.py"),
    "forgets + triples": ("challenges/tiny/", "bugs.json"),
    "twice": ("challenges/tiny/", "cases.json"),
    "query": ("challenges/tiny/", "impostors.json"),
    "golden": ("challenges/tiny/", "recorded/golden.safetensors"),
    "brief.md": ("challenges/tiny/", "brief.md"),
    "default": ("challenges/tiny/", "challenge.json"),
}
BEHAVIOUR = {
    "a bug no scenario sees": (
        lambda f: (cases(f).pop(2), f.update({"brief.md": "Sums. <!-- ranges: add.tokens -->"})),
        "no scenario case",
    ),
    "a bug no unit case sees": (lambda f: cases(f).pop(1), "forgets: no unit case"),
    "a decoy that changes behaviour": (
        change(
            lambda f: bugs(f)[2]["edits"][0],
            find="        self.total = 0\n",
            replace="        self.total = 1\n",
        ),
        "named: must pass",
    ),
    "a case whose outputs hang on what is drawn": (
        lambda f: f.update(
            {
                "driver.py": f["driver.py"].replace(
                    '@verb("total")\ndef add(file, x):\n    """Add to the sum."""\n    return file.keep.sum.add(x)',
                    "@verb\ndef add(file, x):\n    total = file.keep.sum.add(x)\n"
                    '    return {"total": total} | {f"in_{int(x.sum() * 1000) % 97}": 1}',
                )
            }
        ),
        "on secret inputs of seed 1",
    ),
    "a case that catches nothing": (
        lambda f: (
            cases(f).append(
                {**cases(f)[0], "id": "idle", "steps": [{"do": "add", "tokens": 1}], "seed": 6}
            )
            or bugs(f).pop(1)
        ),
        "idle: catches no bug",
    ),
}


@pytest.mark.parametrize("name", BEHAVIOUR)
def test_behaviour_breaches(name: str, make: Make, tiny_sandbox: Sandbox) -> None:
    spoil, says = BEHAVIOUR[name]
    assert says in texts(make(spoil), tiny_sandbox)


def test_bugs_that_cancel_are_found(make: Make, tiny_sandbox: Sandbox) -> None:
    def spoil(files: dict[str, Any]) -> None:
        bugs(files)[1]["edits"] = [{"find": "    return 2 * x\n", "replace": "    return 4 * x\n"}]
        extra = {**bugs(files)[1], "id": "halves"}
        extra["edits"] = [
            {"find": "        doubled = scale(x)\n", "replace": "        doubled = scale(x) / 2\n"}
        ]
        bugs(files).append(extra)
        cases(files)[0]["steps"] = [{"do": "add", "tokens": 3}]
        cases(files)[1]["steps"] = [{"do": "add", "tokens": 3}] * 2

    assert "triples + halves: pass every case together" in texts(make(spoil), tiny_sandbox)


KEEPS = (
    "    return case.draw(tokens, case.d)\n",
    "    seen.append(tokens)\n    return case.draw(tokens, case.d) * len(seen)\n\n\nseen = []\n",
)
STATIC = {
    "not unique": (change(lambda f: bugs(f)[0]["edits"][0], find="self.total"), "occurs"),
    "not disjoint": (
        change(lambda f: bugs(f)[1]["edits"][0], find="+ doubled", replace="- doubled"),
        "which 'forgets' edits too",
    ),
    "does not compile": (
        change(lambda f: bugs(f)[0]["edits"][0], replace="self.total ="),
        "does not compile",
    ),
    "holds a null byte": (
        change(lambda f: bugs(f)[0]["edits"][0], replace="self.total = doubled\0"),
        "does not compile",
    ),
    "gives itself away": (
        change(lambda f: bugs(f)[0]["edits"][0], replace="self.total = doubled  # bug: forgets"),
        "gives the bug away",
    ),
    "hint quotes the answer": (
        change(lambda f: bugs(f)[0], hints=["self.total = self.total + doubled", "b", "c"]),
        "hint 1 quotes the answer",
    ),
    "unknown bug in preset": (
        change(lambda f: f["challenge.json"]["presets"]["default"], bugs=["forgets", "none"]),
        "names 'none'",
    ),
    "brief speaks of nothing": (
        lambda f: f.update({"brief.md": "See `_nowhere`."}),
        "speaks of `_nowhere`",
    ),
    "a sentence that nothing checks": (
        lambda f: f.update({"brief.md": "Sums. <!-- cases: twice --> Scales by 2."}),
        "line 1, 'Scales by 2.': nothing checks this sentence",
    ),
    "a sentence that names no case": (
        lambda f: f.update({"brief.md": "Sums. <!-- cases: twice, thrice -->"}),
        "names the case 'thrice', which cases.json lacks",
    ),
    "a sentence that names no range": (
        lambda f: f.update({"brief.md": "Sums. <!-- cases: twice; ranges: add.rows -->"}),
        "names the range 'add.rows', which the driver lacks",
    ),
    "a comment in the brief that says neither": (
        lambda f: f.update({"brief.md": "Sums. <!-- twice -->"}),
        "`<!-- twice -->` is not understood",
    ),
    "a scenario that no sentence asks for": (
        lambda f: f.update({"brief.md": "Sums. <!-- ranges: add.tokens -->"}),
        "no sentence names the case 'twice'",
    ),
    "a name that no step saves": (
        lambda f: cases(f)[2]["steps"].append({"do": "add", "tokens": 2, "live": "none"}),
        "no step before saves 'none'",
    ),
    "a case that is too dear": (change(lambda f: cases(f)[2], setup={"d": 10**8}), "are allowed"),
    "a driver that keeps something": (
        lambda f: f.update({"driver.py": f["driver.py"].replace(*KEEPS)}),
        "step 1 draws other inputs when the steps are asked in another order",
    ),
    "a verb that looks up what the reference lacks": (
        lambda f: f.update(
            {"driver.py": f["driver.py"].replace("file.scale(x)", "file._scale(x)")}
        ),
        "looks up `_scale`, which the reference lacks",
    ),
    "not recorded": (lambda f: None, "check tiny --record`"),
}


@pytest.mark.parametrize("name", STATIC)
def test_static_breaches(name: str, make: Make) -> None:
    spoil, says = STATIC[name]
    found = static_checks.check(make(spoil, recorded=False))
    assert any(says in violation.text for violation in found), found


def test_recorded_files_that_are_stale_or_written_by_hand_are_told(make: Make) -> None:
    challenge = make()
    assert static_checks.check(challenge) == []
    path = challenge.folder / "bugs.json"
    path.write_text(path.read_text().replace("self.total = doubled", "self.total = -doubled"))
    (challenge.recorded / "notes.txt").write_text("by hand")

    found = {
        violation.subject: violation.text for violation in static_checks.check(reload(challenge))
    }

    assert set(found) == {
        "recorded/witnesses.json",
        "recorded/starter/tiny.py",
        "recorded/notes.txt",
    }
    assert "recorded from other content" in found["recorded/witnesses.json"]
    assert "check tiny --record`" in found["recorded/witnesses.json"]


def test_a_changed_reference_makes_the_golden_unusable(make: Make, tiny_sandbox: Sandbox) -> None:
    challenge = make()
    challenge.reference.write_text(challenge.reference.read_text() + "\n# more\n")
    with pytest.raises(ContentError, match="--record"):
        grade_source(challenge, b"", sandbox=tiny_sandbox)


def test_a_changed_case_makes_the_golden_unusable(make: Make, tiny_sandbox: Sandbox) -> None:
    challenge = make()
    path = challenge.folder / "cases.json"
    path.write_text(path.read_text().replace('"tokens": 4', '"tokens": 5'))
    with pytest.raises(ContentError, match="has changed since"):
        grade_source(reload(challenge), b"", sandbox=tiny_sandbox)


def test_a_wrong_expectation_by_hand_is_refused(make: Make) -> None:
    def spoil(files: dict[str, Any]) -> None:
        cases(files)[0]["steps"] = [
            {"do": "scale", "tokens": 1, "expect": {"scaled": {"values": [[1.0, 2.0, 3.0]]}}}
        ]

    with pytest.raises(ContentError, match="`expect` states another 'scaled'"):
        make(spoil)
