"""Challenges as data: find, load, validate and plant them.  Runs nothing and knows nothing of verdicts."""

from grader.content.catalogue import Catalogue, Challenge, challenge_ids, load_challenge
from grader.content.content_errors import ContentError, UnknownChallenge, UnknownName
from grader.content.entries import Bug, Case, Edit, Preset, TrivialSolution

__all__ = [
    "Bug",
    "Case",
    "Catalogue",
    "Challenge",
    "ContentError",
    "Edit",
    "Preset",
    "TrivialSolution",
    "UnknownChallenge",
    "UnknownName",
    "challenge_ids",
    "load_challenge",
]
