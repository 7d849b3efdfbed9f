"""Challenges as data: find, load, validate and plant them.  Runs nothing and knows nothing of verdicts."""

from grader.content.challenge import Challenge, challenge_ids, load_challenge
from grader.content.entries import Bug, Case, Edit, Impostor, Preset
from grader.content.errors import ContentError, UnknownChallenge, UnknownName

__all__ = [
    "Bug",
    "Case",
    "Challenge",
    "ContentError",
    "Edit",
    "Impostor",
    "Preset",
    "UnknownChallenge",
    "UnknownName",
    "challenge_ids",
    "load_challenge",
]
