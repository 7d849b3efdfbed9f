"""The self-test's driver, run in the worker beside `probe`."""

from __future__ import annotations

from typing import Any

from grader.sandbox.layers.layer import Places


class Verbs:
    """One verb: make all attempts."""

    def __init__(self, submission: Any) -> None:
        self.submission = submission

    def probe(self, **places: Any) -> dict[str, list[Any]]:
        """Return the names of the attempts and whether each was denied."""
        results = self.submission.try_all(Places(**places))
        return {"names": [name for name, _ in results], "denied": [good for _, good in results]}
