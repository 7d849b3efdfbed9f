"""Which bugs and decoys to plant: those of a preset, those a seed draws, generated ones, or those of a work folder.

Names given by the user are checked here, so that a misspelt one is reported as a usage error; whatever is then still
wrong when planting is an error of the content.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from hashlib import sha256

from grader.content import Challenge, ContentError, UnknownName
from grader.content.entries import TELLING
from grader.content.generated_bugs import (
    GeneratedBugs,
    draw_fresh,
    read_generated,
    with_generated,
)
from grader.content.planting import PlantError, choose, goes_with, plant
from grader.ground.errors import UserError
from grader.ground.invocation import command_line
from grader.ground.nearest import did_you_mean
from grader.learner.work_folder import WorkError, WorkFolder

MOST_DECOYS = 2  # beside the one bug of an exercise


@dataclass(frozen=True)
class Variant:
    """Bugs and decoys to plant together."""

    bugs: tuple[str, ...]
    decoys: tuple[str, ...]

    def source(self, challenge: Challenge) -> str:
        """Return the reference with all of them planted; raises ContentError."""
        try:
            return plant(challenge, [*self.bugs, *self.decoys])
        except UnknownName as error:
            raise ContentError(f"{challenge.folder / 'challenge.json'}: {error}") from None


def by_preset(challenge: Challenge, name: str) -> Variant:
    """Return a named choice of the challenge; raises UserError."""
    if name not in challenge.presets:
        raise UserError(unknown("preset", name, challenge.presets))
    preset = challenge.presets[name]
    return Variant(preset.bugs, preset.decoys)


def by_seed(challenge: Challenge, seed: int, count: int) -> Variant:
    """Return `count` bugs drawn by `seed`, with some decoys; raises UserError."""
    try:
        bugs, decoys = choose(challenge, seed, count)
    except PlantError as error:
        raise UserError(str(error)) from None
    return Variant(tuple(bugs), tuple(decoys))


def by_fresh(
    challenge: Challenge, seed: int, count: int | None, level: str | None
) -> tuple[Variant, GeneratedBugs]:
    """Return generated bugs drawn by a number, with some decoys, and the set that they are of.

    Without `count` there are as many as in the default preset, or as go together.  Raises UserError, and ContentError
    when the challenge has no generated bugs.
    """
    known = read_generated(challenge)
    try:
        bugs, decoys = draw_fresh(challenge, known, seed, count, level)
    except PlantError as error:
        raise UserError(str(error)) from None
    return Variant(tuple(bugs), tuple(decoys)), known


def by_family(
    challenge: Challenge, family: str, seed: int, *, generated: bool
) -> tuple[Variant, str]:
    """Return one bug of a family drawn by a number, with some decoys, and the digest of the generated bugs it is of.

    Without `generated` it is one of the challenge's own, and the digest is empty.  Raises UserError where there is no
    such bug.
    """
    known = read_generated(challenge) if generated else None
    bugs = (
        [entry.bug for entry in known.bugs.values()]
        if known
        else [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    )
    names = sorted(bug.id for bug in bugs if bug.family == family)
    if not names:
        raise UserError(f"{challenge.id!r} has no bug of the family {family!r}.")
    draw = random.Random(sha256(f"today/{challenge.id}/{family}/{seed}".encode()).digest())
    name = draw.choice(names)
    made = with_generated(challenge, [known.bugs[name].bug]) if known else challenge
    picked = [made.bugs[name]]
    decoys = [bug for bug in made.bugs.values() if bug.kind == "decoy"]
    for decoy in draw.sample(decoys, len(decoys)):
        if len(picked) <= MOST_DECOYS and goes_with(decoy, picked):
            picked.append(decoy)
    beside = tuple(sorted(entry.id for entry in picked[1:]))
    return Variant((name,), beside), known.digest if known else ""


def begun(challenge: Challenge, work: WorkFolder | None) -> Challenge:
    """Return the challenge as a work folder knows it: with the generated bugs that its file was begun with.

    A set of generated bugs that has changed since adds nothing; `of_work` says so.  Where the file was begun with a
    preset that tells less than the challenge, no more is told.
    """
    if work is None:
        return challenge
    if work.preset is not None and work.preset in challenge.presets:
        return _telling_less(challenge, work.preset)
    if not work.generated:
        return challenge
    try:
        if work.family is not None:
            variant, digest = by_family(challenge, work.family, work.seed or 0, generated=True)
            drawn = read_generated(challenge).bugs[variant.bugs[0]].bug
            return with_generated(challenge, [drawn]) if digest == work.generated else challenge
        variant, known = by_fresh(challenge, work.fresh or 0, work.count, work.level)
    except (UserError, ContentError):
        return challenge
    if known.digest != work.generated:
        return challenge
    return with_generated(challenge, [known.bugs[name].bug for name in variant.bugs])


def _telling_less(challenge: Challenge, name: str) -> Challenge:
    """Return the challenge with the limit of a preset, where that is the lower one."""
    most = min(challenge.tell, challenge.presets[name].tell, key=TELLING.index)
    if most == challenge.tell:
        return challenge
    made = copy(challenge)  # with all that was read already
    made.__dict__.update(tell=most, told_by=f"The preset {name!r}")
    return made


def by_ids(challenge: Challenge, bugs: Iterable[str], decoys: Iterable[str]) -> Variant:
    """Return the named bugs and decoys; raises UserError for a wrong or clashing name."""
    variant = Variant(tuple(dict.fromkeys(bugs)), tuple(dict.fromkeys(decoys)))
    for kind, names in (("bug", variant.bugs), ("decoy", variant.decoys)):
        for name in names:
            _check_kind(challenge, kind, name)
    chosen = [*variant.bugs, *variant.decoys]
    for name in chosen:
        for other, because in challenge.bugs[name].excludes.items():
            if other in chosen:
                raise UserError(f"{name!r} and {other!r} cannot be planted together: {because}")
    return variant


def of_work(challenge: Challenge, work: WorkFolder) -> Variant:
    """Return what was planted in a work folder; raises WorkError when the content has moved on.

    Generated bugs are planted in what `begun` returns.
    """
    try:
        if work.preset is not None:
            return by_preset(challenge, work.preset)
        if work.family is not None:
            variant, digest = by_family(
                *(challenge, work.family, work.seed or 0), generated=bool(work.generated)
            )
            if digest != work.generated:
                raise UserError("its generated bugs are another set now.")
            return variant
        if work.fresh is not None:
            variant, known = by_fresh(challenge, work.fresh, work.count, work.level)
            if known.digest != work.generated:
                raise UserError("its generated bugs are another set now.")
            return variant
        return by_seed(challenge, work.seed or 0, work.count or 0)
    except (UserError, ContentError) as error:
        again = command_line("start", challenge.id, "--force")
        raise WorkError(
            f"{work.folder} was started with something this version does not have: {error} "
            f"Run `{again}`; your own file is kept as a backup."
        ) from None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that a name does not exist and which one may have been meant."""
    names = list(known)
    if hint := did_you_mean(name, names):
        return f"No {kind} named {name!r}.{hint}"
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"No {kind} named {name!r}. There is: {shown or 'none'}."


def _check_kind(challenge: Challenge, kind: str, name: str) -> None:
    entry = challenge.bugs.get(name)
    if entry is None:
        known = [other.id for other in challenge.bugs.values() if other.kind == kind]
        raise UserError(unknown(f"{kind} of {challenge.id!r}", name, known))
    if entry.kind != kind:
        raise UserError(f"{name!r} is a {entry.kind}: give it with --{entry.kind}s")
