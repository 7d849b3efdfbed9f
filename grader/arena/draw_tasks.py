"""Draw tasks under a private key, and prove each before it is handed out.

Everything of task i of a challenge follows from HMAC-SHA256(key, "challenge/i"): who has the key draws the same tasks
again, who does not cannot tell one from its number.  The digest of the key is published with the tasks and the key when
the evaluation is over (commit and reveal): then anyone can see that the tasks were not chosen to suit a result.

A task is proven before it is written: its disguised reference passes every case, each of its bugs alone is refused by a
case that catches it, and all of them together are told apart in the file.  A draw that does not hold is drawn again.
"""

from __future__ import annotations

import hmac
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from grader.arena.arena_task import (
    CANARY,
    MANIFEST,
    PlantedFile,
    Planting,
    PublicTask,
    SealedEntry,
    SealedTask,
    generated_of,
    planted_file,
    refuse_occupied,
    sealed_bytes,
    text_sha256,
    write_task,
)
from grader.arena.bench import Bench
from grader.arena.desk import symptom
from grader.author.generate.generated_file import cases_digest
from grader.author.kill_matrix import first_kill
from grader.content import Bug, Challenge
from grader.content.bug_detection import descends, entry_status
from grader.content.generated_bugs import GeneratedBugs, text_digest, with_generated
from grader.content.planting import PlantError, goes_with, plant
from grader.ground.errors import GraderError, UserError
from grader.ground.files import NotOrdinary, TooLarge, read_ordinary, write_atomically
from grader.judge.result import Result
from grader.judge.secret_inputs import BITS

DRAW_SCHEMA = "kvdojo/arena/v1"
LEAST_KEY, MOST_KEY = 16, 4096  # bytes
MOST_TASKS = 9999
TRIES = 24  # draws of one task before it is given up
MOST_SYMPTOMS = 3
# behind a file: what `torch.empty` gives is NaN from then on
UNWRITTEN_IS_NAN = "\nimport torch\n\ntorch.set_deterministic_debug_mode('warn')\n"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DrawOptions:
    """How tasks are drawn: how many bugs, which share of them generated, and whether files are disguised."""

    least: int = 2
    most: int = 4
    generated: float = 0.5
    disguised: bool = True


@dataclass(frozen=True)
class DrawnTask:
    """Both parts of a task."""

    public: PublicTask
    sealed: SealedTask


@dataclass(frozen=True)
class Pool:
    """What is drawn from: a challenge, its generated bugs, and the entries of both, which know what excludes what."""

    challenge: Challenge
    generated: GeneratedBugs | None
    entries: dict[str, Bug]

    @classmethod
    def of(cls, challenge: Challenge) -> Pool:
        """Return the pool of a challenge; raises ContentError."""
        generated = generated_of(challenge)
        made = [entry.bug for entry in generated.bugs.values()] if generated else []
        return cls(challenge, generated, dict(with_generated(challenge, made).bugs))


def read_key(path: Path) -> bytes:
    """Return the key in a file; raises UserError for one that is none, or that could be guessed."""
    make = f"make one with `head -c 32 /dev/urandom > {path}`"
    try:
        key = read_ordinary(path, MOST_KEY)
    except (NotOrdinary, TooLarge):
        raise UserError(f"{path} is no key: {make}.") from None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: {make}, and keep it to yourself.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if len(key) < LEAST_KEY or len(set(key)) < LEAST_KEY // 2:
        raise UserError(
            f"{path} could be guessed: a key has {LEAST_KEY} random bytes or more; {make}."
        )
    return key


def commitment(key: bytes) -> str:
    """Return the digest by which a key is promised before it is shown."""
    return sha256(b"kvdojo-arena key\0" + key).hexdigest()


def drawn(key: bytes, name: str) -> bytes:
    """Return the 32 bytes that belong to a name under a key; who knows one of them knows no other."""
    return hmac.digest(key, f"kvdojo-arena\0{name}".encode(), "sha256")


def draw_task(
    bench: Bench, pool: Pool, key: bytes, index: int, options: DrawOptions = DrawOptions()
) -> DrawnTask:
    """Return task `index` of a challenge; raises UserError where so many bugs do not go together."""
    challenge = pool.challenge
    name, why = f"{challenge.id}/{index}", "no bugs were drawn"
    for attempt in range(TRIES):
        draw = random.Random(drawn(key, f"{name}/{attempt}"))
        try:
            planting = _planting(pool, draw, options)
            file = planted_file(challenge, pool.generated, planting)
            found = _proven(bench, file)
        except (PlantError, NotProven) as error:
            why = str(error)
            continue
        return _task(pool, file, found, key, index)
    raise UserError(f"no task {index} of {challenge.id!r} can be drawn with these options: {why}.")


class NotProven(Exception):
    """A draw that does not hold: its disguise changes something, or a bug of it is not seen."""


def _planting(pool: Pool, draw: random.Random, options: DrawOptions) -> Planting:
    own = [e.id for e in pool.entries.values() if e.kind == "bug" and not _made(pool, e.id)]
    made = list(pool.generated.bugs) if pool.generated else []
    decoys = [entry.id for entry in pool.entries.values() if entry.kind == "decoy"]
    for names in (own, made, decoys):
        draw.shuffle(names)
    count = draw.randint(options.least, options.most)
    picked: list[Bug] = []
    for _ in range(count):
        first, second = (made, own) if draw.random() < options.generated else (own, made)
        # the other kind only where this one is used up and the options do not leave it out
        wanted = [*first, *(second if 0 < options.generated < 1 or not made else [])]
        found = next((pool.entries[n] for n in wanted if _fits(pool.entries[n], picked)), None)
        if found is None:
            raise PlantError(f"only {len(picked)} bugs go together, not {count}")
        picked.append(found)
    extra: list[Bug] = []
    for name in decoys:
        decoy = pool.entries[name]
        if len(extra) < (count + 1) // 2 and goes_with(decoy, [*picked, *extra]):
            extra.append(decoy)
    return Planting(
        tuple(sorted(bug.id for bug in picked)),
        tuple(sorted(decoy.id for decoy in extra)),
        draw.getrandbits(BITS) if options.disguised else None,
    )


def _made(pool: Pool, name: str) -> bool:
    return pool.generated is not None and name in pool.generated.bugs


def _fits(bug: Bug, picked: Sequence[Bug]) -> bool:
    """Whether a bug goes with others, and no two are caught by exactly the same cases."""
    apart = bug not in picked and all(bug.witnesses != other.witnesses for other in picked)
    return apart and goes_with(bug, picked)


def _proven(bench: Bench, file: PlantedFile) -> Result:
    """Prove a draw and return what the published cases say of its file; raises NotProven.

    A file whose bugs let memory that nobody wrote take part is another file each time, and its marks would be luck.
    """
    challenge, cases = file.challenge, bench.challenge.cases
    if file.planting.disguise is not None:
        right = bench.published(challenge, challenge.reference_text)
        _ours(right)
        if right.verdict != "passed":
            raise NotProven("the disguised reference does not pass")
    for name in file.planting.bugs:
        witnesses = [cases[case] for case in challenge.bugs[name].witnesses if case in cases]
        alone = plant(challenge, [name]).encode()
        if first_kill(bench.sandbox, challenge, bench.golden, alone, witnesses) is None:
            raise NotProven(f"no case catches {name!r}")
    states = entry_status(challenge, file.source)
    if not descends(challenge, file.source) or any(
        states[b] != "present" for b in file.planting.bugs
    ):
        raise NotProven("the bugs cannot be told apart in the file")
    mended = entry_status(challenge, file.mended)
    if any(mended[name] != "fixed" for name in file.planting.bugs):
        raise NotProven("mending the bugs cannot be told from the file")
    if any(mended[name] != states[name] for name in file.planting.decoys if name in states):
        raise NotProven("mending the bugs touches a decoy")
    pasted = entry_status(challenge, bench.challenge.reference_text)
    if any(pasted.get(name) == "present" for name in file.planting.decoys):
        # it is other names alone, and a disguise gives every file names of its own
        raise NotProven("a decoy cannot be told from the reference without the disguise")
    found = bench.published(challenge, file.source)
    _ours(found)
    if found.verdict != "failed":
        raise NotProven("no case refuses the file")
    same: dict[
        str, str
    ] = {}  # files that must fail the same cases, by what is wrong where one does not
    if (
        challenge.file.endswith(".py") and "triton" not in challenge.preload
    ):  # there it is NaN anyway
        why = "what it answers depends on memory that nobody wrote"
        same[why] = file.source + UNWRITTEN_IS_NAN
    if file.planting.decoys:
        same["its decoys change what its bugs do"] = file.without(*file.planting.decoys)
    for why, source in same.items():
        other = bench.published(challenge, source)
        _ours(other)
        if _failed(other) != _failed(found):
            raise NotProven(why)
    return found


def _failed(result: Result) -> set[str]:
    return {case.id for case in result.cases if case.status == "failed"}


def _ours(result: Result) -> None:
    """Raise GraderError where something on our side kept a file from being judged."""
    if result.verdict == "error":
        case = next((case for case in result.cases if case.unjudged_because), None)
        raise GraderError(case.unjudged_because if case and case.unjudged_because else "not judged")


def _task(pool: Pool, file: PlantedFile, found: Result, key: bytes, index: int) -> DrawnTask:
    challenge, name = pool.challenge, f"{pool.challenge.id}-{index:04}"
    failed = [case for case in found.cases if case.status == "failed"]
    failed.sort(key=lambda case: case.kind != "scenario")  # what a user would see comes first
    planting = file.planting
    public = PublicTask(
        name,
        challenge.id,
        challenge.file,
        file.source,
        challenge.brief,
        tuple(map(symptom, failed[:MOST_SYMPTOMS])),
        commitment(key),
    )
    sealed = SealedTask(
        name,
        challenge.id,
        tuple(_entry(pool, file, bug) for bug in planting.bugs),
        tuple(_entry(pool, file, decoy) for decoy in planting.decoys),
        planting.disguise,
        inputs=int.from_bytes(drawn(key, f"{challenge.id}/inputs")[:8]) >> (64 - BITS),
        salt=drawn(key, f"{challenge.id}/{index}/salt").hex()[:32],
        sha256=text_sha256(file.source),
    )
    return DrawnTask(public, sealed)


def _entry(pool: Pool, file: PlantedFile, name: str) -> SealedEntry:
    bug = file.challenge.bugs[name]
    made = pool.generated.bugs.get(name) if pool.generated else None
    return SealedEntry(
        name,
        bug.family,
        bug.difficulty,
        made is not None,
        made.level if made else None,
        made.operators if made else (),
        bug.edits,
        file.lines(name),
    )


def write_draw(
    out: Path,
    key: bytes,
    pools: Sequence[Pool],
    tasks: Sequence[DrawnTask],
    options: DrawOptions,
) -> None:
    """Write tasks and their manifest; raises UserError where something lies there already or cannot be written."""
    refuse_occupied(out)
    try:
        for task in tasks:
            write_task(out, task.public, task.sealed)
        text = json.dumps(manifest(key, pools, tasks, options), indent=2, ensure_ascii=False)
        write_atomically(out / MANIFEST, text + "\n")
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}.") from None


def manifest(
    key: bytes, pools: Sequence[Pool], tasks: Sequence[DrawnTask], options: DrawOptions
) -> dict[str, Any]:
    """Return what may be published at once: it promises the key, the content and every sealed part."""
    return {
        "schema": DRAW_SCHEMA,
        "canary": CANARY,
        "commitment": commitment(key),
        "options": vars(options),
        "content": {
            pool.challenge.id: {
                "reference": text_digest(pool.challenge.reference_text),
                "cases": cases_digest(pool.challenge),
                "generated": pool.generated.digest if pool.generated else None,
            }
            for pool in pools
        },
        "sealed": {task.sealed.id: sha256(sealed_bytes(task.sealed)).hexdigest() for task in tasks},
    }


def checked_options(
    challenge: Challenge, generated: GeneratedBugs | None, options: DrawOptions
) -> DrawOptions:
    """Return the options as they are for a challenge; raises UserError for what it cannot give."""
    if options.disguised and challenge.reference.suffix != ".py":
        raise UserError(
            f"{challenge.id!r} is no Python and cannot be disguised: draw it with --plain."
        )
    if generated is None and options.generated == 1:
        raise UserError(f"{challenge.id!r} has no generated bugs: lower --generated.")
    if generated is None:
        return replace(options, generated=0.0)
    return options
