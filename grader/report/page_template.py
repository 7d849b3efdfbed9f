"""Fill in the templates of the HTML pages.

Whatever a page is given is escaped.  Text that a submission may have written also goes through one of two filters:
`display` makes it one harmless line, and `coded` moreover shows as code what stands between backticks.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from grader.ground.display import escape_for_display


def render_page(template: str, **values: Any) -> str:
    """Return the page that a template of `grader/templates` makes of these values; they must be all it names."""
    return _environment().get_template(template).render(values) + "\n"


def _coded(text: str) -> Markup:
    """Make what stands between backticks code, after everything else was escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(escape_for_display(text)))))


@lru_cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("grader", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["display"] = escape_for_display
    made.filters["coded"] = _coded
    return made
