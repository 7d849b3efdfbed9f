"""Look-ups in a submission and checks of what it returned, with the words for what is missing.

Used beside the submission.  It imports nothing, so that a driver can also be read where torch is absent.
"""

from __future__ import annotations

from typing import Any


class Wrong(Exception):
    """An answer of the wrong structure: `kind` is wrong_value, wrong_shape, wrong_dtype or missing."""

    def __init__(self, kind: str, message: str, *, name: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.name = name


asked: list[str] = []  # names looked for since the worker began the current request


def need(obj: Any, name: str, *, having: str = "") -> Any:
    """Return the attribute `name` of `obj`, or report it missing.

    A private name that stands for a value, such as `self._ids = (1, 2)`, is missing too: what drivers look up under
    private names are functions, and a field of the same name is the file's own affair.  With `having` it is an object
    that must have this method: `need(chat, "_template", having="render")`.
    """
    asked.append(name)
    try:
        found = getattr(obj, name)
    except AttributeError:
        raise Wrong("missing", f"`{name}` is not defined", name=name) from None
    if having:
        if not callable(getattr(found, having, None)):
            raise Wrong("missing", f"`{name}` has no function `{having}`", name=name)
        return found
    # a kernel that Triton tunes is launched and cannot be called
    if name[:1] == "_" and name[:2] != "__" and not (callable(found) or hasattr(found, "run")):
        raise Wrong("missing", f"`{name}` is not a function", name=name)
    return found


def given(answer: Any) -> Any:
    """Return an answer, or say that the function last looked up forgot to return one."""
    if answer is None:
        raise Wrong("missing", f"`{_last()}` returned None; is a `return` missing?")
    return answer


def parts(answer: Any, *names: str) -> tuple[Any, ...]:
    """Return an answer of several things as a tuple, or say what the function last looked up must return."""
    several = given(answer)
    if isinstance(several, tuple | list) and len(several) == len(names):
        return tuple(several)
    raise Wrong("missing", f"`{_last()}` must return ({', '.join(names)})")


def fields_of(answer: Any, *names: str) -> dict[str, Any]:
    """Return an answer's fields by name: those of a mapping, a named tuple, a dataclass or any other object.

    For answers whose form the contract leaves open.  With `names` these alone, as far as there are any, and a property
    is one too.  A plain tuple or list has its positions as names; anything else has no fields.

        >>> fields_of({"size": 1}), fields_of((2, 3))
        ({'size': 1}, {'0': 2, '1': 3})
        >>> fields_of({"size": 1, "room": 4}, "size", "rate"), fields_of(2 + 3j, "real")
        ({'size': 1}, {'real': 2.0})
    """
    answer = given(answer)
    if hasattr(answer, "keys") and hasattr(answer, "__getitem__"):
        return {name: answer[name] for name in answer if not names or name in names}
    if names:
        return {name: getattr(answer, name) for name in names if hasattr(answer, name)}
    if isinstance(answer, tuple | list):
        places = getattr(answer, "_fields", None) or map(str, range(len(answer)))
        return dict(zip(places, answer, strict=True))
    if slots := getattr(type(answer), "__dataclass_fields__", None):
        return {name: getattr(answer, name) for name in slots}
    return dict(getattr(answer, "__dict__", {}))


def _last() -> str:
    return asked[-1] if asked else "the function"
