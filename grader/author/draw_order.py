"""Whether a driver's steps depend on each other's draws, which would make precomputed requests wrong.

Each step that names no saved answer is asked for three times: in the order of the case, in reverse order, and alone.
The kit gives a driver nothing to keep anything in, so only a driver that keeps something on purpose, such as in a
variable of its module, is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from grader.content import Case, Challenge, ContentError
from grader.judge.request_cache import Answers
from grader.judge.script import Script
from grader.sandbox.protocol.codec import pack_request

Asked = tuple[bytes, str]  # the frame of a request, and the digest of what its step drew


def dependent_steps(challenge: Challenge, case: Case) -> Iterator[int]:
    """Give the steps, -1 for the creation, whose request is another one when the steps are asked in another way."""
    whole = range(-1, len(case.steps))
    forward = _ask(challenge, case, whole)
    backward = _ask(challenge, case, reversed(whole))
    for step, asked in forward.items():
        alone = _ask(challenge, case, [step])
        if not asked == backward.get(step) == alone.get(step):
            yield step


def _ask(challenge: Challenge, case: Case, steps: Iterable[int]) -> dict[int, Asked]:
    script = Script(challenge, case, saved=Answers())
    asked = {}
    for step in steps:
        try:
            request = script.request(step)
        except ContentError:
            continue  # it looks at an answer, or is told of elsewhere
        asked[step] = pack_request(request, 0), script.draw.digests[step]
    return asked
