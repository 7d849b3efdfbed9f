"""An attempt in the browser, from the list to the pass, with a grading that is made up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from studio.made_studio import HERE, NAME, NoSandbox, Studio, until

from grader.diagnose.trace_model import Trace
from grader.judge.result import Cause, Result
from grader.learner.question import Question
from grader.learner.watch_view import WatchView
from grader.report.page_template import _environment
from grader.report.stories import Comparison, Story
from grader.studio.attempt_view import Told, state_fragment
from grader.studio.editable_file import digest_of


def test_list_leads_to_an_attempt_and_tells_how_far_it_is(studio: Studio) -> None:
    page = studio.client.get("/").text
    assert "KV-cached multi-head attention" in page
    assert page.count("/start") == page.count("difficulty ") >= 9
    studio.begin()
    studio.state("0 of 6 planted bugs fixed")
    page = studio.client.get("/").text
    assert "0 of 2 cases passed · 0 of 6 planted bugs fixed" in page
    studio.file.write_text("# mended\n")
    studio.state("✓ passed")
    assert (
        "✓ default · 2 of 2 cases passed · 6 of 6 planted bugs fixed" in studio.client.get("/").text
    )


def test_the_brief_stays_open_until_somebody_comes_back_to_the_attempt(studio: Studio) -> None:
    opened = '<details class="brief" id="brief" open>'
    studio.begin()
    studio.state("✗ failed")
    assert opened in studio.client.get(f"/attempt/{NAME}").text
    for other in ("static_cache", "decode_positions"):  # which puts the first one to sleep
        studio.client.post(f"/challenge/{other}/start", headers=HERE)
    assert opened not in studio.client.get(f"/attempt/{NAME}").text


def test_a_save_in_the_page_is_graded_and_told(studio: Studio) -> None:
    live = studio.begin()
    studio.state("✗ failed")
    found = studio.client.get(f"/attempt/{NAME}/file").json()
    assert found["text"] == studio.file.read_text()
    saved = studio.save(found["text"] + "# one more\n", found["digest"])
    assert saved.status_code == 200
    assert studio.file.read_text() == found["text"] + "# one more\n"
    digest = saved.json()["digest"]
    assert digest == digest_of(studio.file.read_bytes())
    studio.state("graded 2 times")
    assert f'data-digest="{digest}"' in live.piece.html
    assert studio.save(found["text"] + "# one more\n", digest).status_code == 200
    studio.state("graded 3 times")  # the same once more is a wish for a verdict


def test_a_save_elsewhere_is_graded_and_told(studio: Studio) -> None:
    studio.begin()
    studio.state("✗ failed")
    studio.file.write_text("def f(:\n")
    studio.state("not valid Python yet, line 1")
    studio.file.write_text("x = 1\n")
    html = studio.state("graded 2 times")
    assert f'data-digest="{digest_of(b"x = 1" + bytes([10]))}"' in html


def test_nothing_typed_is_lost_when_two_save(studio: Studio) -> None:
    studio.begin()
    base = studio.client.get(f"/attempt/{NAME}/file").json()["digest"]
    studio.file.write_text("theirs = 1\n")
    refused = studio.save("mine = 1\n", base)
    assert refused.status_code == 409
    assert refused.json()["text"] == "theirs = 1\n"
    assert studio.file.read_text() == "theirs = 1\n"
    over = studio.save("mine = 1\n", refused.json()["digest"], "mine")
    assert over.status_code == 200
    assert studio.file.read_text() == "mine = 1\n"
    assert (studio.file.parent / over.json()["kept"]).read_text() == "theirs = 1\n"
    aside = studio.save("given up = 1\n", over.json()["digest"], "aside")
    assert (studio.file.parent / aside.json()["kept"]).read_text() == "given up = 1\n"
    assert aside.json()["kept"] != over.json()["kept"]
    assert studio.file.read_text() == "mine = 1\n"
    late = studio.save("late = 1\n", base, "mine")
    assert late.status_code == 409, "what lies there now was never shown"


def test_success_tells_the_stories_and_fills_the_museum(studio: Studio) -> None:
    assert "It is empty yet" in studio.client.get("/museum").text
    studio.begin()
    failing = studio.state("✗ failed")
    challenge = studio.attempts.opened(NAME).options.challenge
    planted = challenge.presets["default"].bugs
    for name in planted:
        assert challenge.bugs[name].title not in failing, "what is left is only counted"
    studio.file.write_text("# mended\n")
    html = studio.state("All cases pass")
    assert f'<form method="post" action="/challenge/{NAME}/start">' in html
    assert '<input type="hidden" name="preset" value="contest">' in html
    museum = studio.client.get("/museum").text
    for name in planted:
        title = challenge.bugs[name].title.replace("`", "").split(" ")[0]
        assert title in html
        assert title in museum
    assert "6 so far" in museum


def test_the_first_grading_says_why_it_takes_longer(studio: Studio) -> None:
    live = studio.begin()
    studio.state("✗ failed")
    begins = WatchView("file.py", busy=(0, 0))
    html = state_fragment(begins, live.options, Told(), 1)
    assert "grading; the first time takes longer" in html
    begins.result = live._view.result
    html = state_fragment(begins, live.options, Told(), 2)
    assert ">grading<" in html


def test_lines_that_are_taken_away_are_told_in_words() -> None:
    gone, kept = Comparison(85, (), ()), Comparison(45, ("x = 1",), ("x = 1",))
    story = Story(1, "bug", "A title", "How", "What", (), (gone, kept))
    page = (
        "{% from 'studio/bug_story.html.j2' import bug_story %}"
        "{% for story in stories %}{{ bug_story(story, 'file.py') }}{% endfor %}"
    )
    html = _environment().from_string(page).render(stories=[story])
    assert "Taken away, as in the reference." in html
    assert "Line 85" not in html
    assert "Line 45, as the reference has it:" in html
    assert html.count("<pre") == 1


def test_a_suspicion_is_noted_judged_and_in_the_log(studio: Studio) -> None:
    live = studio.begin()
    studio.state("✗ failed")
    told = studio.client.post(
        f"/attempt/{NAME}/suspect", data={"lines": "3", "why": "odd"}, headers=HERE
    )
    assert "Noted: line 3" in told.text
    wrong = studio.client.post(f"/attempt/{NAME}/suspect", data={"lines": "9999"}, headers=HERE)
    assert "the file has the lines 1 to" in wrong.text
    studio.file.write_text("# mended\n")
    html = studio.state("✓ passed")
    assert "Your suspicion of line 3 was not it" in html
    log = studio.client.get(f"/attempt/{NAME}/log").text
    assert "suspect" in log
    assert "(odd)" in log
    assert live.options.challenge.id == NAME


def test_help_comes_one_rung_at_a_time(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    live = studio.begin()
    rungs = iter(
        [("Place (rung 1 of 6)", "the first place"), ("Pattern (rung 2 of 6)", "as if `off`")]
    )
    object.__setattr__(live.options, "more", lambda *_: next(rungs))
    html = studio.state("✗ failed")
    assert "the first place" not in html
    studio.client.post(f"/attempt/{NAME}/press/m", headers=HERE)
    html = studio.state("the first place")
    assert "<code>off</code>" not in html
    studio.client.post(f"/attempt/{NAME}/press/m", headers=HERE)
    html = studio.state("<code>off</code>")
    assert "the first place" in html, "what was told stays"
    studio.file.write_text("x = 2\n")
    assert "the first place" in studio.state("graded 2 times")


def test_the_unit_case_of_a_rung_tells_what_it_found(studio: Studio) -> None:
    live = studio.begin()
    studio.state("✗ failed")
    about = live.options.more.__self__
    case = replace(about._cases[0], cause=Cause("wrong_value", "<b> differs", None, "[1]", "[2]"))
    about._cases = (case,)
    assert list(about._found_by(case.id)) == ["<b> differs", "expected  [1]", "got  [2]"]
    assert list(about._found_by(None)) == list(about._found_by("no-such")) == []


def test_only_a_few_attempts_are_open(studio: Studio) -> None:
    names = [NAME, "static_cache", "sliding_window"]
    opened = []
    for name in names:
        studio.client.post(f"/challenge/{name}/start", headers=HERE)
        opened.append(studio.attempts.opened(name))
    assert until(lambda: opened[0].ended)
    assert NoSandbox.open == 2
    assert "put to sleep" in opened[0].piece.html
    answer = studio.client.get(f"/attempt/{NAME}/file")
    assert answer.status_code == 409
    assert "reload its page" in answer.text
    assert studio.client.get(f"/attempt/{NAME}").status_code == 200
    assert NoSandbox.open == 2


def test_one_file_is_graded_at_a_time(studio: Studio) -> None:
    running, most = [0], [0]
    grade = studio.grader.__class__.__call__

    def counted(*words: object, **named: object) -> Result:
        running[0] += 1
        most[0] = max(most)
        most[0] = max(most[0], running[0])
        try:
            return grade(studio.grader, *words, **named)
        finally:
            running[0] -= 1

    studio.grader.seconds = 0.2
    studio.attempts._functions = type(studio.attempts._functions)(NoSandbox, counted)
    for name in (NAME, "static_cache"):
        studio.client.post(f"/challenge/{name}/start", headers=HERE)
    for name in (NAME, "static_cache"):
        live = studio.attempts.opened(name)
        until(lambda live=live: "failed" in live.piece.html)
    assert most == [1]


def test_a_fresh_one_gets_a_folder_of_its_own(studio: Studio) -> None:
    studio.begin()
    before = studio.file.read_bytes()
    answer = studio.client.post(f"/challenge/{NAME}/start", data={"fresh": "7"}, headers=HERE)
    assert answer.status_code == 200
    live = studio.attempts.opened(NAME)
    assert live.work.folder == studio.work / f"{NAME}-fresh-7"
    assert studio.file.read_bytes() == before
    again = studio.client.post(f"/challenge/{NAME}/start", headers=HERE)
    assert again.status_code == 200, "the usual one is as it was begun, so nothing is in the way"
    assert studio.attempts.opened(NAME).work.folder == studio.work / NAME


def test_what_is_in_the_way_is_replaced_only_when_asked(studio: Studio) -> None:
    studio.begin()
    studio.file.write_text("mine = 1\n")
    refused = studio.client.post(f"/challenge/{NAME}/start", headers=HERE)
    assert refused.status_code == 409
    assert "is there already" in refused.text
    assert studio.file.read_text() == "mine = 1\n"
    taken = studio.client.post(f"/challenge/{NAME}/start", data={"replace": "yes"}, headers=HERE)
    assert taken.status_code == 200
    backups = list(studio.file.parent.glob("*.backup-*"))
    assert [path.read_text() for path in backups] == ["mine = 1\n"]


@pytest.mark.parametrize(
    ("raw", "editable"),
    [
        (b"x = 1\r\ny = 2\r\n", True),
        (b"\xef\xbb\xbfx = 1\n", True),
        (b"x = 1\r\ny = 2\n", False),
        (b"# -*- coding: latin-1 -*-\n# \xe9\n", False),
        (b"x = '\x00'\n", False),
        ("x = 'é \U0001f600'\n".encode(), True),
        (b"", True),
    ],
)
def test_line_ends_and_encodings_stay_as_they_were(
    studio: Studio, raw: bytes, editable: bool
) -> None:
    studio.begin()
    studio.file.write_bytes(raw)
    found = studio.client.get(f"/attempt/{NAME}/file").json()
    assert (found["text"] is not None) is editable
    assert studio.client.get(f"/attempt/{NAME}").status_code == 200
    answer = studio.save((found["text"] or "") + "z = 3\n", found["digest"])
    if not editable:
        assert answer.status_code == 422
        assert studio.file.read_bytes() == raw
        return
    end = b"\r\n" if b"\r\n" in raw else b"\n"
    assert studio.file.read_bytes() == raw + b"z = 3" + end


def test_text_that_no_file_can_hold_is_refused(studio: Studio) -> None:
    studio.begin()
    before = studio.file.read_bytes()
    found = studio.client.get(f"/attempt/{NAME}/file").json()
    answer = studio.client.post(
        f"/attempt/{NAME}/file",
        content=b'{"text": "\\ud800", "base": "%s", "how": "save"}' % found["digest"].encode(),
        headers=HERE | {"Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    assert "half of a character" in answer.json()["problem"]
    assert studio.save("x" * 300_000, found["digest"]).status_code == 422
    assert studio.file.read_bytes() == before


def test_steps_are_those_of_the_case_in_focus_and_told_no_further_than_was_climbed(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def traced(*words: object) -> Trace:
        asked.append(words)
        return Trace(NAME, str(words[5]), ())

    monkeypatch.setattr("grader.studio.step_document.trace_for_steps", traced)
    live = studio.begin()
    html = studio.state("✗ failed")
    assert 'data-steps-of="1-0"' in html
    told = studio.client.get(f"/attempt/{NAME}/steps")
    assert told.json()["schema"] == "kvdojo/steps/v1"
    focus, case, level = asked[0][4:]
    assert case == focus.case in live.piece.html
    assert level == "symptom"
    studio.client.get(f"/attempt/{NAME}/steps")
    assert len(asked) == 1, "the same question is answered once"
    live.work.with_rung(focus.bug, 1).save()
    studio.client.get(f"/attempt/{NAME}/steps")
    assert asked[1][6] == "place"
    studio.file.write_text("# mended\n")
    assert 'data-steps-of=""' in studio.state("✓ passed")
    assert studio.client.get(f"/attempt/{NAME}/steps").status_code == 404


def test_another_attempt_can_be_chosen_and_nothing_else(studio: Studio) -> None:
    studio.begin()
    studio.client.post(f"/challenge/{NAME}/start", data={"preset": "contest"}, headers=HERE)
    contest = studio.attempts.opened(NAME).work.folder
    assert contest != studio.file.parent
    page = studio.client.get(f"/challenge/{NAME}").text
    assert str(studio.file.parent) in page
    for folder in ("", "/etc", f"{contest}/..", str(contest.parent)):
        answer = studio.client.post(f"/challenge/{NAME}/use", data={"folder": folder}, headers=HERE)
        assert answer.status_code == 409
        assert studio.attempts.opened(NAME).work.folder == contest
    wish = {"folder": str(studio.file.parent)}
    assert studio.client.post(f"/challenge/{NAME}/use", data=wish, headers=HERE).status_code == 200
    assert studio.attempts.opened(NAME).work.folder == studio.file.parent


def test_a_question_after_a_fix_is_asked_and_answered(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = studio.begin()
    asked = Question(
        "x", "Why did `one` not show it?", ("first", "second", "third", "fourth"), 2, "So."
    )
    object.__setattr__(live.options, "question", lambda _: asked)
    object.__setattr__(live.options, "answer", lambda question, number: question.reply(number))
    studio.state("✗ failed")
    studio.client.post(f"/attempt/{NAME}/press/1", headers=HERE)
    studio.file.write_text("x = 1\n")
    html = studio.state("Why did <code>one</code> not show it?")
    assert html.count("/press/4") == 1
    studio.client.post(f"/attempt/{NAME}/press/2", headers=HERE)
    html = studio.state("Right. So.")
    assert "Why did" not in html
