"""What a parameter may be, said once: `tokens: whole(0, 64, "New tokens S.") = 1`.

From it follow the JSON Schema that editors use, the check of a case, and random values.  A bound may name a size of the
setup: `whole(0, "capacity", ...)`; the schema then takes the largest value of that size, a random case its actual one.

`usual` says where most random values come from, which is where calls meet what the challenge is about.  `refused` are
values that the contract says are refused: a case may state them, and a random case does where it wants a refusal.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args, get_origin

from grader.kit.choice_sequence import ChoiceSequence
from grader.kit.mistakes import DriverError, mistake

Bound = int | float | str | None
Length = str | tuple[int, int]
Sizes = Mapping[str, Any]
Schema = dict[str, Any]

NAME = r"^[a-z][a-z0-9._-]*$"  # of an object
REQUIRED: Any = inspect.Parameter.empty
DTYPES = ("int32", "int64", "float32", "float16", "bfloat16", "float64", "bool")
LONGEST_NAME = 40  # characters of a name that a step saves under
LONGEST_VALUES = 64  # items of a stated list of numbers
FEW = 40  # random sizes stay below, but for one large one, so that a case stays quick
EDGES = (
    0,
    1,
    2,
    3,
    5,
    7,
    8,
    9,
    11,
    13,
    15,
    16,
    17,
    19,
    31,
    32,
    33,
    47,
    63,
    64,
    65,
    97,
    127,
    128,
    129,
    257,
    513,
)
FACTORS = (1.0, 0.0, -1.0, 0.25, 0.7, 3.0)


@dataclass(frozen=True)
class Known:
    """What is known where a random value is drawn: the sizes of the setup, and the names that were saved so far."""

    sizes: Sizes
    saved: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of value.

    `none` allows null.  `numbers` allows stated numbers, `{"values": [[1, 2]]}`, beside the kind itself.  Where a case
    does not state a parameter, the size `otherwise` of the setup is sent, if the setup states it.
    """

    text: str = ""
    none: bool = False
    numbers: bool = False
    otherwise: str = ""
    refused: tuple[Any, ...] = ()

    def schema(self, largest: Sizes) -> Schema:
        """Return the JSON Schema; `largest` are the largest values of the setup's sizes."""
        schema = self._schema(largest)
        if self.none and "type" in schema:
            schema = {**schema, "type": [schema["type"], "null"]}
        elif self.none:
            schema = {"anyOf": [schema, {"type": "null"}]}
        if self.numbers:
            schema = {"oneOf": [schema, Numbers().schema(largest)]}
        if self.refused:
            schema = {"anyOf": [schema, {"enum": list(self.refused)}]}
        return {**schema, "description": self.text} if self.text else schema

    def bounds(self) -> Iterable[Bound]:
        """Return the bounds that may name a size of the setup."""
        return ()

    def allows(self, value: Any) -> bool:
        """Whether a default may be this; bounds that name a size are not looked at."""
        return True

    def saved(self, value: Any) -> list[str]:
        """Return the names of saved answers that a value of this kind speaks of."""
        return []

    def drawable(self, known: Known) -> bool:
        """Whether a random value can be drawn."""
        sizes = known.sizes
        named = all(sizes.get(name) is not None for name in map(size_named, self.bounds()) if name)
        return named and self._drawable(known)

    def random(self, choose: ChoiceSequence, known: Known) -> Any:
        """Return a random value, if one can be drawn."""
        return None if self.none and choose.one_in(3) else self._random(choose, known)

    def large(self, choose: ChoiceSequence, known: Known) -> Any:
        """Return a value that is larger than usual, where the kind has such."""
        return self.random(choose, known)

    @property
    def refuses(self) -> bool:
        """Whether there are values that the contract refuses."""
        return bool(self.refused)

    def random_refused(self, choose: ChoiceSequence, known: Known) -> Any:
        """Return a random value that the contract refuses, where the kind `refuses` any."""
        return choose.one_of(self.refused)

    def _drawable(self, known: Known) -> bool:
        return True

    def _random(self, choose: ChoiceSequence, known: Known) -> Any:
        raise NotImplementedError

    def _schema(self, largest: Sizes) -> Schema:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class _Range(Kind):
    low: Bound = None
    high: Bound = None
    above: bool = False  # `low` itself is left out

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        plain = isinstance(low, int | float) and isinstance(high, int | float)
        if (low is None) != (high is None):
            raise mistake("a range has both ends, or neither")
        if plain and (low > high or (self.above and low == high)):  # type: ignore[operator]
            raise mistake(f"the range from {low} to {high} is empty")

    def bounds(self) -> Iterable[Bound]:
        """Return both ends."""
        return self.low, self.high

    def allows(self, value: Any) -> bool:
        """Whether a number lies in the range."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        over = isinstance(self.low, str) or self.low is None or value >= self.low
        return over and (isinstance(self.high, str) or self.high is None or value <= self.high)

    def _limits(self, largest: Sizes) -> Schema:
        if self.low is None:
            return {}
        least = "exclusiveMinimum" if self.above else "minimum"
        return {least: size_of(self.low, largest), "maximum": size_of(self.high, largest)}


@dataclass(frozen=True, kw_only=True)
class Whole(_Range):
    """An integer; a multiple of `multiple`.

    `room` says of a size that the steps of a case fill it, so that fewer would be too few for them.
    """

    multiple: int = 1
    room: bool = False
    usual: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.usual and not self.usual[0] <= self.usual[1]:
            raise mistake(f"the usual range from {self.usual[0]} to {self.usual[1]} is empty")
        if self.usual and not (self.allows(self.usual[0]) and self.allows(self.usual[1])):
            raise mistake(f"the usual range {self.usual} goes beyond {self.low} to {self.high}")

    def allows(self, value: Any) -> bool:
        """Whether a value is an integer in the range."""
        return super().allows(value) and isinstance(value, int) and value % self.multiple == 0

    def large(self, choose: ChoiceSequence, known: Known) -> int:
        """Return a number beyond the usual ones, such as one past a block."""
        low, high = self._ends(known)
        beyond = [edge for edge in EDGES if self._usual(low, high)[1] < edge <= high]
        return self._fitting(choose.one_of(beyond or [high]), low)

    def _drawable(self, known: Known) -> bool:
        low, high = self._ends(known)
        return low <= high

    def _random(self, choose: ChoiceSequence, known: Known) -> int:
        low, high = self._ends(known)
        usual, few = self._usual(low, high), max(low, min(high, FEW))
        edges = [edge for edge in EDGES if low <= edge <= few]
        if usual[0] <= usual[1] and not choose.one_in(3):
            number = choose.between(*usual)
        elif edges and not choose.one_in(2):
            number = choose.one_of(edges)
        else:
            number = choose.between(low, few)
        return self._fitting(number, low)

    def _ends(self, known: Known) -> tuple[int, int]:
        if self.low is None:
            return -FEW, FEW
        return size_of(self.low, known.sizes), size_of(self.high, known.sizes)

    def _usual(self, low: int, high: int) -> tuple[int, int]:
        first, last = self.usual or (low, low + 4)
        return max(low, first), min(high, last)

    def _fitting(self, number: int, low: int) -> int:
        down = number - number % self.multiple
        return down if down >= low else down + self.multiple

    def _schema(self, largest: Sizes) -> Schema:
        more = {"multipleOf": self.multiple} if self.multiple > 1 else {}
        return {"type": "integer", **self._limits(largest), **more}


@dataclass(frozen=True, kw_only=True)
class Real(_Range):
    """A number."""

    usual: tuple[float, ...] = FACTORS

    def _random(self, choose: ChoiceSequence, known: Known) -> float:
        low, high = size_of(self.low, known.sizes), size_of(self.high, known.sizes)
        if low is None:
            return choose.one_of(self.usual)
        inside = [x for x in self.usual if low <= x <= high and not (self.above and x == low)]
        ends: list[float] = [(low + high) / 2, high]
        return choose.one_of(inside or ends)

    def _schema(self, largest: Sizes) -> Schema:
        return {"type": "number", **self._limits(largest)}


@dataclass(frozen=True, kw_only=True)
class Switch(Kind):
    """True or false."""

    def allows(self, value: Any) -> bool:
        """Whether a value is one of the two."""
        return isinstance(value, bool)

    def _random(self, choose: ChoiceSequence, known: Known) -> bool:
        return choose.one_in(2)

    def _schema(self, largest: Sizes) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True)
class Choice(Kind):
    """One of several texts; a function that returns them is called only where they are needed."""

    names: tuple[str, ...] | Callable[[], Iterable[str]]

    def __post_init__(self) -> None:
        if not callable(self.names) and not self.names:
            raise mistake("a choice of nothing")

    @property
    def options(self) -> list[str]:
        """The texts."""
        return list(self.names() if callable(self.names) else self.names)

    def allows(self, value: Any) -> bool:
        """Whether a value is one of the texts."""
        return callable(self.names) or value in self.names

    def _random(self, choose: ChoiceSequence, known: Known) -> str:
        return choose.one_of(self.options)

    def _schema(self, largest: Sizes) -> Schema:
        return {"enum": self.options}


@dataclass(frozen=True, kw_only=True)
class Constant(Kind):
    """One value and no other."""

    value: Any

    def _random(self, choose: ChoiceSequence, known: Known) -> Any:
        return self.value

    def _schema(self, largest: Sizes) -> Schema:
        return {"const": self.value}


@dataclass(frozen=True, kw_only=True)
class Text(Kind):
    """A text of at most `longest` characters.

    `names_saved` finds the saved answer that a text speaks of, where it speaks of one.
    """

    longest: int
    pattern: str = ""
    usual: tuple[str, ...] = ()
    names_saved: Callable[[str], str | None] | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise mistake(f"{self.pattern!r} is no regular expression: {error}") from None

    def allows(self, value: Any) -> bool:
        """Whether a value is a text that is short enough."""
        return isinstance(value, str) and len(value) <= self.longest

    def saved(self, value: Any) -> list[str]:
        """Return the answer that the text speaks of, if any."""
        found = self.names_saved(value) if self.names_saved and isinstance(value, str) else None
        return [found] if found else []

    def _drawable(self, known: Known) -> bool:
        return bool(self.usual)

    def _random(self, choose: ChoiceSequence, known: Known) -> str:
        return choose.one_of(self.usual)

    def _schema(self, largest: Sizes) -> Schema:
        schema: Schema = {"type": "string"}
        if self.pattern:
            schema["pattern"] = self.pattern
        return {**schema, "maxLength": self.longest}


@dataclass(frozen=True, kw_only=True)
class NamedObject(Text):
    """The name of an object that an earlier verb kept; the verb gets the object itself."""

    def _drawable(self, known: Known) -> bool:
        return False  # its name does not tell what the object is


@dataclass(frozen=True, kw_only=True)
class Saved(Kind):
    """The name under which an earlier step saved its answer."""

    def saved(self, value: Any) -> list[str]:
        """Return the name itself."""
        return [value] if isinstance(value, str) else []

    def _drawable(self, known: Known) -> bool:
        return bool(known.saved)

    def _random(self, choose: ChoiceSequence, known: Known) -> str:
        return choose.one_of(known.saved[::-1])

    def _schema(self, largest: Sizes) -> Schema:
        return {"type": "string", "maxLength": LONGEST_NAME}


@dataclass(frozen=True, kw_only=True)
class ListOf(Kind):
    """A list of values of one kind, or of any JSON values where `item` is None."""

    item: Kind | None
    length: Length

    def __post_init__(self) -> None:
        if isinstance(self.length, tuple) and not 0 <= self.length[0] <= self.length[1]:
            raise mistake(f"a list cannot have from {self.length[0]} to {self.length[1]} items")

    def bounds(self) -> Iterable[Bound]:
        """Return the length, if it is a size, and the bounds of the items."""
        length = [self.length] if isinstance(self.length, str) else []
        return [*length, *(self.item.bounds() if self.item else ())]

    def allows(self, value: Any) -> bool:
        """Whether a value is a list or a tuple."""
        return isinstance(value, list | tuple)

    def saved(self, value: Any) -> list[str]:
        """Return the answers that the items speak of."""
        items = value if self.item and isinstance(value, list) else []
        return [name for item in items for name in (self.item.saved(item) if self.item else ())]

    @property
    def refuses(self) -> bool:
        """Whether the list or an item of it can be one that the contract refuses."""
        return bool(self.refused) or (self.item is not None and self.item.refuses)

    def random_refused(self, choose: ChoiceSequence, known: Known) -> Any:
        """Return a refused list, or a random one with a refused item in it."""
        if self.item is None or not self.item.refuses:
            return choose.one_of(self.refused)
        items: list[Any] = self.random(choose, known) or []
        if items:
            items[choose.below(len(items))] = self.item.random_refused(choose, known)
        return items

    def _drawable(self, known: Known) -> bool:
        return self.item is not None and self.item.drawable(known)

    def _random(self, choose: ChoiceSequence, known: Known) -> list[Any]:
        assert self.item, "a list of anything is not drawn"
        least, most = self._length(known.sizes)
        if isinstance(self.item, Choice):
            rest = self.item.options
            count = choose.between(least, min(most, len(rest)))
            return [rest.pop(choose.below(len(rest))) for _ in range(count)]
        count = choose.between(least, min(most, max(least, 8)))
        return [self.item.random(choose, known) for _ in range(count)]

    def _length(self, sizes: Sizes) -> tuple[int, int]:
        if isinstance(self.length, str):
            return (size_of(self.length, sizes),) * 2
        return self.length

    def _schema(self, largest: Sizes) -> Schema:
        least, most = (
            self.length if isinstance(self.length, tuple) else (0, size_of(self.length, largest))
        )
        items = {"items": self.item.schema(largest)} if self.item else {}
        return {
            "type": "array",
            **items,
            **({"minItems": least} if least else {}),
            "maxItems": most,
        }


@dataclass(frozen=True, kw_only=True)
class OneOf(Kind):
    """A JSON object of one of several forms; a form is a class whose annotated fields are the object's keys."""

    forms: tuple[type, ...]

    @property
    def fields(self) -> list[dict[str, Parameter]]:
        """The fields of each form."""
        return [parameters(form) for form in self.forms]

    def bounds(self) -> Iterable[Bound]:
        """Return the bounds of all fields."""
        return [bound for item in self._all() for bound in item.kind.bounds()]

    def allows(self, value: Any) -> bool:
        """Whether a value is an object."""
        return isinstance(value, Mapping)

    def saved(self, value: Any) -> list[str]:
        """Return the answers that the fields speak of."""
        stated = value if isinstance(value, Mapping) else {}
        items = [item for item in self._all() if item.name in stated]
        return [name for item in items for name in item.kind.saved(stated[item.name])]

    def _drawable(self, known: Known) -> bool:
        return bool(self._possible(known))

    def _random(self, choose: ChoiceSequence, known: Known) -> dict[str, Any]:
        return {
            name: item.kind.random(choose, known)
            for name, item in choose.one_of(self._possible(known)).items()
            if item.kind.drawable(known) and (item.required or choose.one_in(2))
        }

    def _all(self) -> list[Parameter]:
        return [item for form in self.fields for item in form.values()]

    def _possible(self, known: Known) -> list[dict[str, Parameter]]:
        return [
            form
            for form in self.fields
            if all(item.kind.drawable(known) for item in form.values() if item.required)
        ]

    def _schema(self, largest: Sizes) -> Schema:
        return {"oneOf": [object_schema(form, "", largest) for form in self.fields]}


@dataclass(frozen=True, kw_only=True)
class Numbers(Kind):
    """Numbers that a case states; `shape` gives (least, most) per axis, and numbers are whole then, or bool."""

    shape: tuple[tuple[int, int], ...] = ()
    within: tuple[int, int] | None = None
    type: type = int

    def _drawable(self, known: Known) -> bool:
        return False

    def _schema(self, largest: Sizes) -> Schema:
        values: Schema = {"type": "array", "maxItems": LONGEST_VALUES}
        properties: Schema = {"values": values}
        if self.shape:
            low, high = self.within or (None, None)
            inner = Whole(low=low, high=high) if self.type is int else Switch()
            schema = inner.schema({})
            for least, most in reversed(self.shape):
                schema = {"type": "array", "minItems": least, "maxItems": most, "items": schema}
            properties["values"] = schema
        else:
            text = "Nested lists of numbers; write 1.0, not 1, for floating-point numbers."
            values["description"] = text
            dtype = "Dtype; by default int64 for whole numbers and the case's dtype for others."
            properties["dtype"] = {"enum": list(DTYPES), "description": dtype}
        return {
            "type": "object",
            "required": ["values"],
            "additionalProperties": False,
            "properties": properties,
        }


@dataclass(frozen=True)
class Parameter:
    """One parameter of a verb, or a size of the setup."""

    name: str
    kind: Kind
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Whether a case must state it."""
        return self.default is REQUIRED


def object_schema(items: Mapping[str, Parameter], text: str, largest: Sizes) -> Schema:
    """Return the schema of an object whose keys are these parameters."""
    return {
        **({"description": text} if text else {}),
        "type": "object",
        "properties": {name: item.kind.schema(largest) for name, item in items.items()},
        "required": [name for name, item in items.items() if item.required],
        "additionalProperties": False,
    }


def size_named(bound: Bound) -> str | None:
    """Return the size that a bound such as `"batch - 1"` names."""
    return bound.split(" - ")[0] if isinstance(bound, str) else None


def size_of(bound: Bound, sizes: Sizes) -> Any:
    """Work out a bound: a number as it is, `"batch - 1"` from the sizes."""
    if not isinstance(bound, str):
        return bound
    name, *less = bound.split(" - ")
    return sizes[name] - sum(map(int, less))


def kind_of(hint: Any) -> Kind | None:
    """Return the kind that an annotation states: `whole(0, 9, "...")`, or `Annotated[int, whole(0, 9, "...")]`."""
    if get_origin(hint) is Annotated:
        return next((item for item in get_args(hint)[1:] if isinstance(item, Kind)), None)
    return hint if isinstance(hint, Kind) else None


def evaluated(item: Callable[..., Any] | type) -> dict[str, Any]:
    """Return the annotations of a function or a class, evaluated; raises DriverError for one that cannot be."""
    try:
        return inspect.get_annotations(item, eval_str=True)
    except DriverError:
        raise
    except Exception as error:
        told = f"an annotation of `{item.__name__}` cannot be evaluated: {error}"
        raise mistake(told, item) from error


def no_kind(name: str, hint: Any) -> str:
    """Say that an annotation is none of the kit's."""
    told = getattr(hint, "__name__", None) or repr(hint)[:80]
    return f'`{name}` is annotated with `{told}`; a kind is expected, such as `whole(0, 64, "New tokens.")`'


def parameters(item: Callable[..., Any] | type) -> dict[str, Parameter]:
    """Return the parameters of a function, or the fields of a class, that are annotated with a kind."""
    hints = evaluated(item)
    found: dict[str, Parameter] = {}
    if isinstance(item, type):
        for name, hint in hints.items():
            kind = kind_of(hint)
            if kind is None:
                raise mistake(no_kind(f"{item.__name__}.{name}", hint), item)
            found[name] = Parameter(name, kind, getattr(item, name, REQUIRED))
        return found
    for name, argument in inspect.signature(item).parameters.items():
        kind = kind_of(hints.get(name))
        if argument.kind is argument.VAR_KEYWORD:  # passed on where a case states them
            options = parameters(hints[name])
            found |= {key: replace(option, default=None) for key, option in options.items()}
        elif kind is not None:
            found[name] = Parameter(name, kind, argument.default)
    return found
