"""Turn a case into requests, one step at a time, with the challenge's own `Plan`.

The arrays that a step answers with are kept here, on the trusted side, and sent again when a later step names them,
unless they are named to a worker that had answered with them (see `request_cache`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from grader.content import Case, Challenge, ContentError
from grader.content.driver_loading import load_driver
from grader.ground.arrays import Array, array
from grader.judge.draw import CREATE as CREATE
from grader.judge.draw import Draw
from grader.judge.request_cache import Answers, CachedRequests, Numbers, cached_requests
from grader.kit.driver import Driver
from grader.kit.trusted_side import Case as PlanCase
from grader.kit.trusted_side import Plan, sizes_of
from grader.sandbox import Earlier, Reply, Request

_COMMON = ("do", "save", "live", "raises", "expect")


class Script:
    """The requests of one case in the dtype of one run; create() is step -1.

    With a `draw` or `saved` of its own, a script can be followed without anything being run.
    """

    def __init__(
        self,
        challenge: Challenge,
        case: Case,
        *,
        dtype: str | None = None,
        seed: int | None = None,
        jitter: int | None = None,
        draw: Any = None,
        saved: dict[str, Any] | Answers | None = None,
    ) -> None:
        self.case = case
        self.dtype = dtype or case.dtype
        self._seed = seed = case.seed if seed is None else seed
        self.draw = draw or Draw(seed, case.dtype, jitter)
        self._made_by = load_driver(challenge)
        self._saved: Any = {} if saved is None else saved
        self._cached: CachedRequests | None = None
        if draw is None and saved is None and not jitter:
            self._cached = cached_requests(case, seed, self.dtype)
            if not self._cached.filled:
                alone = Script(challenge, case, dtype=dtype, seed=seed, saved=Answers())
                self._cached.fill(alone.precomputed(), alone.draw.digests)

    @cached_property
    def _plan(self) -> Plan:
        """Made for the first request that is not known already."""
        plan = self._made_by(dict(self.case.setup), self.draw)
        plan.saved = self._saved
        return plan

    @property
    def indices(self) -> range:
        """Indices of the steps, from the creation on."""
        return range(CREATE, len(self.case.steps))

    def request(self, index: int) -> Request:
        """Return the request of a step, all numbers in it; every earlier step must have been answered."""
        known = self._cached.requests.get(index) if self._cached else None
        return known if known and not known.earlier else self._made(index)

    def precomputed(self) -> dict[int, Request]:
        """Return the requests that can be made although nothing was answered; `saved` must be `Answers`."""
        made = {}
        for index in self.indices:
            with suppress(
                ContentError
            ):  # it looks at an answer, or is told of when it is asked for
                made[index] = self.request(index)
        return made

    def leading(self) -> Iterator[Request]:
        """Give the first requests as far as they are known before anything is answered."""
        return self._cached.leading(self.indices) if self._cached else iter(())

    @property
    def fingerprint(self) -> str:
        """Digest of what every step draws, each with a digest of its own; to be asked after the last request."""
        if self._cached is None:
            return self._fingerprint({})
        if self.draw.digests:
            return self._fingerprint(self._cached.digests)
        if not self._cached.fingerprint:  # every request was a precomputed one
            self._cached.fingerprint = self._fingerprint(self._cached.digests)
        return self._cached.fingerprint

    def _fingerprint(self, known: Mapping[int, str]) -> str:
        steps = sorted({**known, **self.draw.digests}.items())
        return sha256(repr((self.case.dtype, self._seed, steps)).encode()).hexdigest()[:32]

    def _made(self, index: int) -> Request:
        plan = self._plan
        self.draw.at(index)
        step: Mapping[str, Any] = {"do": "create"} if index == CREATE else self.case.steps[index]
        try:
            params = {key: self._literal(item) for key, item in step.items() if key not in _COMMON}
            made = plan.inputs(step["do"], params)
        except Exception as error:
            where = f"case {self.case.id!r}, step {index}"
            raise ContentError(
                f"{where}: the driver's plan of {step['do']!r} failed: {error!r}"
            ) from error
        args, tensors, earlier = self._split(made)
        if index == CREATE:
            args["dtype"] = self.dtype
        names = {"save": step.get("save"), "live": step.get("live")}
        return Request(step["do"], args, tensors, earlier=earlier, **names)

    def may_change(self, verb: str) -> Collection[str]:
        """Arguments that the contract lets a verb write into."""
        known = self._made_by.driver.verbs.get(verb)
        return known.may_change if known else ()

    def told(self, index: int, reply: Reply) -> Reply:
        """Return the reply that is judged: that of a verb whose answers are chance holds what they tell, see `verb`.

        An answer of which the driver can tell nothing stays as it is, which is not what the golden holds.
        """
        verb = None if index == CREATE else self._driver.verbs.get(self.case.steps[index]["do"])
        if verb is None or verb.told is None or reply.raised or reply.problem:
            return reply
        sizes = sizes_of(self._driver, self.case.setup)
        arrays = {name: item.values for name, item in reply.tensors.items()}
        try:
            values = verb.told(PlanCase(sizes, dict(self.case.setup)), arrays)
        except Exception:  # the arrays are whatever the file sent
            return reply
        return replace(reply, tensors={}, values=values)

    @property
    def _driver(self) -> Driver:
        driver: Driver = self._made_by.driver
        return driver

    def answered(self, index: int, reply: Reply) -> None:
        """Keep what a step returned, if the case gives it a name."""
        if index != CREATE and (name := self.case.steps[index].get("save")):
            self._saved[name] = nest({**reply.values, **reply.tensors})

    def _literal(self, value: Any) -> Any:
        if isinstance(value, dict) and "values" in value:
            try:
                made = np.asarray(value["values"])
                if made.dtype.kind not in "fiub":
                    raise ValueError("they are not numbers of one kind")
                dtype = value.get("dtype")
                return array(made, dtype) if dtype else made
            except (ValueError, OverflowError, TypeError) as error:
                raise ContentError(
                    f"case {self.case.id!r}: `values` make no tensor: {error}"
                ) from None
        return value

    def _split(self, made: Any) -> tuple[dict[str, Any], dict[str, Array], dict[str, Earlier]]:
        args: dict[str, Any] = {}
        tensors: dict[str, Array] = {}
        earlier: dict[str, Earlier] = {}
        for name, value in flatten(made).items():
            if isinstance(value, np.ndarray):
                dtype = self.dtype if value.dtype.kind == "f" else value.dtype.name
                tensors[name] = array(value, dtype)
            elif isinstance(value, Array):
                tensors[name] = value
            elif isinstance(value, Numbers):
                earlier[name] = value.earlier(self.dtype)
            elif isinstance(value, Answers):
                raise ContentError(f"case {self.case.id!r}: {name} depends on an earlier answer")
            else:
                args[name] = value
        return args, tensors, earlier


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name the leaves of nested dictionaries by their path, joined by `/`."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        path = f"{prefix}{name}"
        if (
            isinstance(value, dict) and value
        ):  # an empty one is a leaf: it would not arrive otherwise
            flat |= flatten(value, f"{path}/")
        else:
            flat[path] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `flatten`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree
