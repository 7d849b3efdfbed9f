"""Text of a submission made safe to show."""

from __future__ import annotations

import pytest

from grader.ground.display import escape_characters, escape_for_display, escape_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcödé 漢字 λ", "plain ünïcödé 漢字 λ"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb\x08c\x7f", "a\\rb\\x08c\\x7f"),
        ("\x9b1m", "\\x9b1m"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("a\tb", "a    b"),
        ("a\nb", "a b"),
        ("a\xa0b", "a\\xa0b"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_acts_or_hides_is_escaped(text, shown):
    assert escape_for_display(text) == shown


def test_stacked_marks_are_bounded():
    assert escape_for_display("e" + "\u0301" * 50).count("\u0301") == 2


def test_long_lines_and_many_lines_are_cut():
    assert len(escape_for_display("x" * 10_000)) <= 400
    lines = escape_lines("\n".join(map(str, range(1000))), lines=10)
    assert len(lines) == 10
    assert (lines[0], lines[-1]) == ("0", "999")
    assert "991 lines left out" in "".join(lines)


def test_every_code_point_is_shown_printable():
    text = escape_for_display("".join(map(chr, range(0x110000))), columns=10**8)
    assert all(char.isprintable() for char in text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("plain", "plain"), ("a\nb\tc", "a\nb\tc"), ("\x1b]0;x\x07", "\\x1b]0;x\\x07"), ("é", "é")],
)
def test_control_characters_are_shown_not_sent(raw, shown):
    assert escape_characters(raw) == shown
