"""Challenges as data: find, load, validate and plant them.  Runs nothing and knows nothing of verdicts."""

from grader.content.challenge import Bug, Case, Challenge, Preset, challenge_ids, load_challenge
from grader.content.errors import ContentError, UnknownChallenge, UnknownName

__all__ = [
    "Bug",
    "Case",
    "Challenge",
    "ContentError",
    "Preset",
    "UnknownChallenge",
    "UnknownName",
    "challenge_ids",
    "load_challenge",
]
