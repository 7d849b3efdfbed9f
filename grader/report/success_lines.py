"""The end of an attempt for the terminal: a story in one to three lines each, what it took, what to try next.

`kvdojo explain` tells the stories in full (`full_story`).  The learner's own lines go through `escape_for_display`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from grader.ground.display import escape_for_display
from grader.ground.invocation import command_line
from grader.ground.symbols import Symbols, count
from grader.report.stories import Comparison, Story, Success

WIDEST_CODE = 60
USUAL_WIDTH = 80


def story_lines(
    success: Success, marks: Symbols, room: int, width: int = USUAL_WIDTH
) -> Iterator[RenderableType]:
    """Yield the head, and the stories in as many lines each as there is room for, none wider than `width`.

    A source stands behind the title where the whole of it fits.  Where a second line is not for all, it is for those
    that were mended in other words than the reference's.
    """
    told = success.stories
    yield Text(f"Planted bugs: {len(told)} of {len(told)} fixed", "bold")
    each = max(1, room // len(told)) if told else 0
    beside_it = _in_own_words(told)[: max(0, room - len(told))] if each == 1 else []
    for number, story in enumerate(told):
        if each == 1 and number == room - 1 and len(told) > room:
            yield _row((f"{marks.passed} and {len(told) - number} more", "green"))
            return
        happened = story.happened
        beside = f" {marks.dash} {happened.short}" if happened and each < 3 else ""
        if len(story.title) + len(beside) + 4 > width:
            beside = ""
        yield _row((f"{marks.passed} {story.title}", "green"), (beside, "dim"))
        if story.lines and (each >= 2 or story.number in beside_it):
            yield _row(f"  {in_short(story.lines[0], width - 4)}")
        if each >= 3 and happened:
            title = "" if happened.short == happened.title else f": {happened.title}"
            yield _row((f"  happened in {happened.short}{title}", "dim"))


def _in_own_words(told: Sequence[Story]) -> list[int]:
    """Return the numbers of the stories whose lines are not the reference's."""
    return [story.number for story in told if story.lines and not story.lines[0].is_same]


def in_short(compared: Comparison, width: int = USUAL_WIDTH) -> str:
    """Return a comparison in one line; where both sides are told, each has half of the width."""
    half = max(12, (width - len(f"line {compared.first}:   reference: ")) // 2)
    right = _code(compared.reference, half)
    if not compared.mine:
        return "taken away, as in the reference" if compared.is_same else f"reference: {right}"
    if compared.is_same:
        return f"line {compared.first}, as the reference: {_code(compared.mine)}"
    return f"line {compared.first}: {_code(compared.mine, half)}  reference: {right or 'nothing'}"


def what_it_took(success: Success) -> str:
    """Return minutes, saves and help in a line."""
    return (
        f"{count(success.minutes, 'minute')}, {count(success.saves, 'save')},"
        f" {success.rungs} of {success.of_rungs} rungs of help."
    )


def suggestion_lines(success: Success) -> Iterator[str]:
    """Yield a line for each thing to try next."""
    for number, suggestion in enumerate(success.suggestions):
        head = "Next: " if number == 0 else "or    "
        yield f"{head}`{command_line(*suggestion.words)}` ({suggestion.why})"


def full_story(story: Story, file: str) -> Iterator[RenderableType]:
    """Yield one story in full; `file` is the name by which the learner knows the file."""
    yield Text(f"{story.number}  {story.title}", "bold")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("how it looked", story.symptom)
    table.add_row("what it was", story.explanation)
    for number, source in enumerate(story.sources):
        table.add_row("" if number else "happened in", source.title)
        if source.url:
            table.add_row("", Text(source.url, "cyan"))
    for compared in story.lines:
        place = f"{file}:{compared.first}"
        table.add_row("yours", Text("\n".join([place, *_lines(compared.mine, "nothing")])))
        right = ("the same",) if compared.is_same else _lines(compared.reference, "nothing")
        table.add_row("reference", Text("\n".join(right)))
    table.add_row("help", count(story.rungs, "rung") if story.rungs else "none")
    yield Padding(table, (0, 0, 0, 3), expand=False)


def _lines(code: tuple[str, ...], nothing: str) -> tuple[str, ...]:
    return tuple(escape_for_display(text) for text in code) or (nothing,)


def _code(lines: tuple[str, ...], columns: int = WIDEST_CODE) -> str:
    """Return some lines of code as the first of them, its comment left out, in so many columns."""
    if not lines:
        return ""
    first = lines[0].split("  #")[0].strip()
    more = " ..." if len(lines) > 1 else ""
    return escape_for_display(first, columns=columns - len(more)) + more


def _row(*parts: str | tuple[str, str]) -> RenderableType:
    text = Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
    return Padding(text, (0, 0, 0, 2), expand=False)
