"""Write the page of a grading: `grade --html`."""

from __future__ import annotations

from pathlib import Path

from grader.cli.exits import UserError
from grader.cli.variant import Variant
from grader.content import Challenge
from grader.files import write_atomically
from grader.judge.result import Result
from grader.report.html import result_page


def write_page(
    challenge: Challenge, result: Result, source: bytes, page: Path, *, planted: Variant | None
) -> None:
    """Write the page to `page`; `planted` is what the file came with, where that is known."""
    text = result_page(
        challenge,
        result,
        source.decode("utf-8", "replace"),
        planted=planted.bugs if planted else None,
        decoys=planted.decoys if planted else (),
        starter=planted.source(challenge) if planted else None,
    )
    try:
        write_atomically(page, text)
    except OSError as error:
        raise UserError(f"{page}: cannot be written: {error.strerror}") from None
