"""Strict JSON: what is refused, and how it is said."""

from __future__ import annotations

import pytest

from grader.content.content_errors import ContentError
from grader.content.jsonfile import parse_json, read_json
from grader.ground.limits import MAX_CONTENT_BYTES


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"a": }', "line 1 column 7"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b"[" * 100_000, "nested too deeply"),
        (b"", "line 1 column 1"),
    ],
)
def test_broken_json_is_one_line_with_the_place(text: bytes, says: str) -> None:
    with pytest.raises(ContentError) as caught:
        parse_json(text, "cases.json")
    assert says in str(caught.value)
    assert str(caught.value).startswith("cases.json: ")
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_accepted() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', "x") == {"a": 1}


def test_missing_and_huge_files_are_refused(tmp_path) -> None:
    with pytest.raises(ContentError, match="cannot be read"):
        read_json(tmp_path / "none.json")
    (tmp_path / "big.json").write_bytes(b" " * (MAX_CONTENT_BYTES + 1))
    with pytest.raises(ContentError, match="larger than 8 MiB"):
        read_json(tmp_path / "big.json")
