"""A driver's module as a whole: its verbs, the sizes of its cases, the helpers it looks up, and whether it makes sense.

`Driver.check` and `Driver.helpers` are for the trusted side, which puts the driver's text into its module as
`__source__`; a worker asks for neither.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from grader.kit.declare import Source, Verb, recall
from grader.kit.kinds import (
    REQUIRED,
    Parameter,
    evaluated,
    kind_of,
    no_kind,
    parameters,
    size_named,
)
from grader.kit.mistakes import DriverError, mistake, or_meant

STEP_KEYS = (
    "do",
    "save",
    "live",
    "raises",
    "expect",
    "spoil",
    "regimes",
)  # what a step says of itself
CASE_NAMES = ("draw", "given", "named", "saved")  # what a source asks its `case` for
CANDIDATES = 120  # random scenarios that are tried when a challenge is recorded
RANDOM_DTYPES = ("float32", "bfloat16", "float16")  # not float64: a brief may allow float32 inside


@dataclass(frozen=True)
class RandomScenarios:
    """What random scenarios may ask, as the class `RandomScenarios` of a driver says; all of it may be left out:

        class RandomScenarios:
            verbs = ("forward",)             # by default all that look no helper up and are not `often=0`
            steps = (1, 6)                   # fewest and most
            raises = ("ValueError",)         # how the brief says that calls are refused
            candidates = 120                 # how many are tried at `check --record`; fewer where the reference is slow

            def asked(case): ...             # False for a case that the brief leaves open; it is never asked
            def amended(case, choose): ...   # other sizes or steps, for what ranges cannot say

    A case is a dictionary with `setup`, `dtype`, `seed` and `steps`, as in `cases.json`.
    """

    verbs: tuple[str, ...]
    steps: tuple[int, int] = (1, 6)
    raises: tuple[str, ...] = ("ValueError",)
    candidates: int = CANDIDATES
    asked: Callable[[Any], Any] = lambda _case: True
    amended: Callable[[Any, Any], Any] = lambda case, _choose: case

    @classmethod
    def of(cls, stated: type, driver: Driver) -> RandomScenarios:
        """Read the class of a driver; DriverError where it says what it cannot."""
        said = {name: item for name, item in vars(stated).items() if name[:1] != "_"}
        if unknown := said.keys() - cls.__annotations__.keys():
            near = or_meant(min(unknown), cls.__annotations__)
            raise mistake(
                f"`RandomScenarios` says `{min(unknown)}`, which means nothing{near}", stated
            )
        verbs = said["verbs"] if "verbs" in said else driver.public_verbs()
        for name in verbs:
            if name not in driver.verbs:
                raise mistake(
                    f"`RandomScenarios` names `{name}`, which is no verb{or_meant(name, driver.verbs)}",
                    stated,
                )
        return cls(**{**said, "verbs": tuple(verbs)})


class Driver:
    """The verbs, sources and sizes of a driver's module."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.scope = scope
        self.verbs = {name: item for name, item in scope.items() if isinstance(item, Verb)}
        for name, item in self.verbs.items():
            item.bind(name, scope)
        if any(item.recalled for item in self.verbs.values()):
            self.verbs["recall"] = recall

    @cached_property
    def setup(self) -> dict[str, Parameter]:
        """The sizes of a case, from the class `Setup`."""
        return parameters(self._sizes)

    @property
    def text(self) -> str:
        """What the sizes are."""
        return inspect.getdoc(self._sizes) or ""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of random cases; `dtypes = ("float32",)` in the class `Setup` names others."""
        return tuple(getattr(self._sizes, "dtypes", RANDOM_DTYPES))

    def legal(self, sizes: Any) -> bool:
        """Whether random cases may have these sizes, by the function `legal` of the class `Setup`."""
        return bool(getattr(self._sizes, "legal", lambda _: True)(sizes))

    def range_names(self) -> set[str]:
        """Return what may be drawn at random, by name, such as `forward.scale` and `setup.batch`."""
        names = {"setup.dtypes", *(f"setup.{name}" for name in self.setup)}
        for item in self.verbs.values():
            parts = (*item.parameters, *item.spoils, *item.layouts)
            names |= {item.name, *(f"{item.name}.{part}" for part in parts)}
        return names

    @cached_property
    def random(self) -> RandomScenarios | None:
        """How random scenarios are drawn, from the class `RandomScenarios`; None where a driver has none."""
        stated = self.scope.get("RandomScenarios")
        return RandomScenarios.of(stated, self) if isinstance(stated, type) else None

    def public_verbs(self) -> list[str]:
        """Return the verbs that every correct file can be asked, since they look no helper up.

        To know that, the driver's text is parsed.
        """
        return [
            name
            for name, item in self.verbs.items()
            if name != "create" and item.often and not self.helpers(item)
        ]

    def helpers(self, verb: Verb) -> list[str]:
        """Return the names with an underscore that a verb looks up, a helper's own or those in its function's text."""
        if verb.function is recall.function:
            return []
        return list(verb.uses) or self._private.get(verb.function.__code__.co_firstlineno, [])

    def all_helpers(self) -> list[str]:
        """Return every helper that a verb looks up, in the order of the verbs."""
        return list(
            dict.fromkeys(name for item in self.verbs.values() for name in self.helpers(item))
        )

    def check(self) -> None:
        """Raise DriverError for the first declaration that cannot be used, with its line."""
        try:
            for part in (self._names, self._setup, self._sources, self._verbs):
                part()
            _ = self.random
        except DriverError as error:
            if error.line is None and error.within:
                error.line = next(line for name, line, _ in self._bound() if name == error.within)
            raise

    @property
    def _sizes(self) -> type:
        if not isinstance(sizes := self.scope.get("Setup"), type):
            raise DriverError(
                "there is no class `Setup`; its annotated fields are the sizes of a case"
            )
        return sizes

    @cached_property
    def _text(self) -> ast.Module:
        return ast.parse(str(self.scope["__source__"]))

    @cached_property
    def _private(self) -> dict[int, list[str]]:
        """Names with one underscore that each function looks up in an object, by the function's first line.

        From the text, since byte code differs between versions of Python.
        """
        functions = [node for node in ast.walk(self._text) if isinstance(node, _FUNCTION)]
        functions.sort(
            key=lambda node: isinstance(node, ast.FunctionDef)
        )  # lambdas in its decorators begin there too
        return {_first_line(node): _looked_up(node) for node in functions}

    def _bound(self) -> Iterator[tuple[str, int, bool]]:
        """Give every name bound at the top of the module, its line, and whether a function or class is bound to it."""
        for node in self._text.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name, node.lineno, True
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    yield alias.asname or alias.name, node.lineno, False
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        yield target.id, node.lineno, False

    def _names(self) -> None:
        """Refuse a name that is bound twice: the second one would silently take the place of the first.

        An imported name counts too.  Annotations may be evaluated late, and would then find the second one.
        """
        first: dict[str, tuple[int, bool]] = {}
        for name, line, defined in self._bound():
            before, was = first.setdefault(name, (line, defined))
            declared = isinstance(self.scope.get(name), Verb | Source)
            if before != line and (defined or was or declared):
                raise DriverError(
                    f"`{name}` is declared a second time; the first is in line {before}", line
                )

    def _setup(self) -> None:
        for name, item in self.setup.items():
            self._fits(item, partial(mistake, item=self._sizes))
            if name in CASE_NAMES:
                raise mistake(f"no size can be called `{name}`", self._sizes)

    def _sources(self) -> None:
        for item in self.scope.values():
            if isinstance(item, Source):
                item.check()
                for parameter in item.parameters.values():
                    self._fits(parameter, partial(mistake, item=item.function))

    def _verbs(self) -> None:
        if not any(name != "create" for name in self.verbs):
            raise DriverError("there is no verb; `@verb` before a function makes it one")
        for item in self.verbs.values():
            try:
                self._verb(item)
            except DriverError as error:
                raise error if error.line else item.fault(error.message) from None

    def _verb(self, item: Verb) -> None:
        if not item.uses:
            self._annotated(item)
        taken: dict[str, Parameter] = {}
        for source, names in item.sources.items():
            for name in names:
                source.output(name)
            _merge(item, taken, source.parameters | source.stating(names))
        _merge(item, taken, item.plain)
        for parameter in item.plain.values():
            self._fits(parameter, item.fault)
        inputs = {name for names in item.sources.values() for name in names}
        for name in item.may_change - inputs:
            raise item.fault(
                f"`may_change` names `{name}`, which no source makes{or_meant(name, inputs)}"
            )
        known = inputs | item.plain.keys()
        for way, spoil in item.spoils.items():
            for name in set(spoil.arguments) - known:
                raise item.fault(
                    f"`{way}` spoils `{name}`, which is no argument{or_meant(name, known)}"
                )

    def _annotated(self, item: Verb) -> None:
        hints, arguments = evaluated(item.function), inspect.signature(item.function).parameters
        if not arguments:
            raise item.fault("its function must take the submission as its first argument")
        for name in list(arguments)[1:]:
            hint = hints.get(name)
            fields = arguments[name].kind is inspect.Parameter.VAR_KEYWORD and isinstance(
                hint, type
            )
            if name in hints and not (isinstance(hint, Source) or kind_of(hint) or fields):
                raise item.fault(no_kind(name, hint))

    def _fits(self, item: Parameter, fault: Callable[[str], DriverError]) -> None:
        """Make sure that a parameter's bounds name sizes, and that its default is a value of its kind."""
        for name in map(size_named, item.kind.bounds()):
            if name and name not in self.setup:
                close = or_meant(name, self.setup)
                told = f"`{item.name}` is bounded by `{name}`, which is no size of `Setup`{close}"
                raise fault(told)
        value = item.default
        if value is not REQUIRED and value is not None and not item.kind.allows(value):
            raise fault(f"the default {value!r} of `{item.name}` is not what the case may state")


def _merge(verb: Verb, taken: dict[str, Parameter], more: Mapping[str, Parameter]) -> None:
    for name, item in more.items():
        if name in STEP_KEYS:
            raise verb.fault(
                f"no parameter can be called `{name}`; a step says something else with it"
            )
        if name in taken and taken[name] != item:
            raise verb.fault(f"two of its sources take `{name}` and mean different things by it")
        taken[name] = item


_FUNCTION = ast.FunctionDef | ast.Lambda


def _first_line(node: ast.FunctionDef | ast.Lambda) -> int:
    """Return the line that `co_firstlineno` says: that of the first decorator, if there is one."""
    decorators = getattr(node, "decorator_list", [])
    return decorators[0].lineno if decorators else node.lineno


def _looked_up(function: ast.FunctionDef | ast.Lambda) -> list[str]:
    """Names with one underscore that a function's body reads from an object, in the order of the text."""
    body = function.body if isinstance(function.body, list) else [function.body]
    nodes = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Attribute)]
    read = [node for node in nodes if isinstance(node.ctx, ast.Load)]
    private = [node for node in read if node.attr[:1] == "_" and node.attr[:2] != "__"]
    private.sort(key=lambda node: (node.end_lineno, node.end_col_offset))
    return list(dict.fromkeys(node.attr for node in private))
