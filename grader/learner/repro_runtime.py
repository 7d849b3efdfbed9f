"""What makes the calls of a case and compares the answers; the same in every script of `kvdojo repro`."""

import base64
import importlib.util
import os
import random
import sys
import tempfile
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch


class Step(NamedTuple):
    """One call: the verb, its arguments, and what is right; names with slashes are nested dictionaries."""

    do: str
    arguments: dict[str, Any]
    expected: dict[str, Any]
    tolerances: dict[str, float]
    raises: str | None
    save: str | None
    live: str | None
    earlier: dict[str, tuple[Any, ...]]
    chance: bool


def tensor(dtype: str, shape: list[int], values: Any) -> torch.Tensor:
    """Make a tensor of a list of numbers, or of their bytes in base64."""
    if isinstance(values, str):
        kind = "float32" if dtype == "bfloat16" else dtype
        values = numpy.frombuffer(base64.b64decode(values), kind).copy()
    return torch.tensor(values).reshape(shape).to(getattr(torch, dtype))


def main(file: str, steps: Callable[[], list[Step]], driver: str, kit: Mapping[str, str]) -> int:
    """Run the steps on a file and print what differs; 0 where nothing does."""
    random.seed(1)
    numpy.random.seed(1)
    torch.manual_seed(1)
    spec = importlib.util.spec_from_file_location("submission", file)
    assert spec is not None
    assert spec.loader is not None, f"{file} is no Python file"
    submission = importlib.util.module_from_spec(spec)
    sys.modules["submission"] = submission
    spec.loader.exec_module(submission)
    # only now: the kit has kernels of its own where the file has imported Triton
    with tempfile.TemporaryDirectory() as folder:
        for name, text in kit.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        sys.path.insert(0, folder)
        calls = sys.modules["driver"] = types.ModuleType("driver")
        calls.__file__ = "driver.py"
        exec(compile(driver, "driver.py", "exec"), calls.__dict__)
        sys.path.remove(folder)
    verbs = calls.Verbs(submission)
    kept: dict[str, Any] = {}
    answered: dict[str, dict[str, Any]] = {}
    for number, step in enumerate(steps()):
        told = follow(verbs, step, kept, answered)
        if told is not None:
            at = "creation" if number == 0 else f"step {number}"
            sys.stdout.write(f"{at}, {step.do}: {told}\n")
            return 1
    sys.stdout.write("Every answer is right.\n")
    return 0


def follow(
    verbs: Any, step: Step, kept: dict[str, Any], answered: dict[str, dict[str, Any]]
) -> str | None:
    """Make one call; return what is wrong with its answer, or None."""
    arguments = dict(step.arguments)
    for name, (save, part, bounds, dtype) in step.earlier.items():
        found = answered[save][part][tuple(slice(*pair) for pair in bounds)].clone()
        arguments[name] = found.to(getattr(torch, dtype)) if found.is_floating_point() else found
    before = {name: x.clone() for name, x in arguments.items() if isinstance(x, torch.Tensor)}
    nested = nest(arguments)
    if step.live is not None:
        nested["live"] = kept[step.live]
    try:
        answer = getattr(verbs, step.do)(**nested)
    except Exception as error:
        if step.raises in [kind.__name__ for kind in type(error).__mro__]:
            return None
        if (
            type(error).__name__ == "Wrong"
        ):  # what the verb says of an answer, not what the file raised
            return str(error)
        raise  # the debugger stops where it came from
    if step.raises is not None:
        return f"must raise {step.raises}, and returned"
    flat = flatten(answer or {})
    if step.save is not None:
        kept[step.save] = verbs.__dict__.pop("returned", None)
        answered[step.save] = {
            name: x.detach().clone() for name, x in flat.items() if isinstance(x, torch.Tensor)
        }
    may_change = getattr(verbs, "MAY_CHANGE", {}).get(step.do, ())
    for name, old in before.items():
        new = arguments[name]
        if name.split("/")[0] not in may_change and not torch.equal(
            old.nan_to_num(7.0), new.nan_to_num(7.0)
        ):
            return f"changed its argument `{name}`"
    return None if step.chance else compared(step, flat)


def compared(step: Step, flat: Mapping[str, Any]) -> str | None:
    """Return the first difference from what is right, or None."""
    for name, want in step.expected.items():
        got = flat.get(name)
        if not isinstance(want, torch.Tensor):
            if isinstance(want, float) and isinstance(got, float):
                got = want if abs(got - want) <= 1e-6 * abs(want) + 1e-12 else got
            if got != want:
                return f"`{name}` is {got!r}; it should be {want!r}"
            continue
        if not isinstance(got, torch.Tensor) or got.shape != want.shape:
            shape = list(got.shape) if isinstance(got, torch.Tensor) else got
            return f"`{name}` is {shape}; the shape {list(want.shape)} is expected"
        gap = (got.detach().double() - want.double()).abs()
        wrong = ~(gap <= step.tolerances.get(name, 0.0))
        if wrong.any():
            index = tuple(wrong.nonzero()[0].tolist())
            return (
                f"`{name}` differs in {int(wrong.sum())} of {wrong.numel()} values, first at "
                f"{list(index)}: expected {want[index].item():.6g}, got {got[index].item():.6g}"
            )
    return None


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn names with slashes into nested dictionaries."""
    root: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        place = root
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return root


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name what is in nested dictionaries by its path."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def environment(names: Mapping[str, str]) -> None:
    """Set what must be set before a kernel is imported."""
    for name, value in names.items():
        os.environ.setdefault(name, value)
