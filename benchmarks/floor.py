"""What a verdict costs beside the bare calls it rests on: `python -m benchmarks.floor [CHALLENGE] [ROUNDS]`.

The floor is what nobody can do without who runs a file in a process of its own: fork from a process in which torch and
the driver are loaded, execute the file anew for every case, make the case's calls on its tensors, end.  No wire, no
limits, no comparison.  In turn with it the same files are graded as `batch` grades each: the same cases on the same
secret inputs, one after the other, without random scenarios.  Half of the files are right and half have one planted
bug.  The figure is the ratio of the medians.  What a process of its own for every case costs is told, too.
"""

from __future__ import annotations

import contextlib
import gc
import os
import statistics
import sys
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.options import add_challenge, many, parser
from grader.content import Challenge, load_challenge
from grader.content.driver_loading import execute_driver
from grader.content.planting import plant
from grader.ground.arrays import Array
from grader.judge import grade_source, start_sandbox
from grader.judge.golden import Golden
from grader.judge.golden_check import prepare
from grader.judge.random_scenarios import RandomScenarios
from grader.judge.script import Script, nest
from grader.judge.secret_inputs import SecretCase, SecretInputs
from grader.judge.worker_reuse import limits_of
from grader.sandbox import Earlier, Reply, Sandbox

CORRECT = Path(__file__).resolve().parents[1] / "tests" / "correct"
FILES = 5  # of each half


class NoScenarios(RandomScenarios):
    """No random scenario is asked."""

    @property
    def there(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True)
class Call:
    """One call of a verb, with its tensors made; `save` and `live` name objects that one call hands to another."""

    verb: str
    arguments: dict[str, Any]
    save: str | None
    live: str | None


def calls_of(sandbox: Sandbox, challenge: Challenge, secret: SecretCase) -> list[Call]:
    """Return the calls of a case, those on the reference's earlier answers included."""
    script, calls = Script(challenge, secret.case, seed=secret.seed), []
    replies: dict[str | None, Reply] = {}
    source, limits = challenge.reference_text.encode(), limits_of(challenge)
    session = sandbox.open(source, challenge.driver, filename=challenge.file, limits=limits)
    with contextlib.closing(session):
        session.load()
        for index in script.indices:
            request = script.request(index)
            arrays = {**request.tensors}
            for name, part in request.earlier.items():
                arrays[name] = _cut(replies[part.save].tensors[part.name], part)
            tensors = {name: tensor_of(item) for name, item in arrays.items()}
            arguments = nest({**request.args, **tensors})
            calls.append(Call(request.do, arguments, request.save, request.live))
            reply = session.ask(request, max_reply_bytes=64 << 20)
            replies[request.save] = reply
            script.answered(index, reply)
    return calls


def _cut(item: Array, part: Earlier) -> Array:
    cut = Array(item.dtype, item.values[tuple(slice(*bounds) for bounds in part.bounds)])
    return cut.astype(part.dtype) if cut.floating else cut


def tensor_of(item: Array) -> Any:
    """Return a torch tensor with memory of its own."""
    import torch

    return torch.tensor(item.values).to(getattr(torch, item.dtype))


def bare(path: str, source: str, verbs_of: Callable[[Any], Any], calls: Sequence[Call]) -> None:
    """Execute a file and make the calls of one case; what raises is the file's business."""
    import torch

    torch.manual_seed(1)
    submission = types.ModuleType("submission")
    submission.__file__ = path
    sys.modules["submission"] = submission
    exec(compile(source, path, "exec", dont_inherit=True), submission.__dict__)
    verbs, kept = verbs_of(submission), dict[str | None, Any]()
    for call in calls:
        arguments = dict(call.arguments)
        with contextlib.suppress(Exception):
            if call.live is not None:
                arguments["live"] = kept[call.live]
            getattr(verbs, call.verb)(**arguments)
            if call.save is not None:
                kept[call.save] = verbs.__dict__.pop("returned", None)


def floor_seconds(
    files: Sequence[str],
    verbs_of: Callable[[Any], Any],
    cases: Sequence[Sequence[Call]],
    at_once: int,
) -> float:
    """Return what the bare calls of all files take, one forked process after another, each for `at_once` cases."""
    began = time.monotonic()
    for source in files:
        for start in range(0, len(cases), at_once):
            pid = os.fork()
            if pid == 0:
                for calls in cases[start : start + at_once]:
                    with contextlib.suppress(Exception):
                        bare("submission.py", source, verbs_of, calls)
                os._exit(0)
            os.waitpid(pid, 0)
    return time.monotonic() - began


def graded_seconds(
    files: Sequence[str],
    challenge: Challenge,
    sandbox: Sandbox,
    golden: Golden,
    inputs: SecretInputs,
) -> tuple[float, int]:
    """Return what grading all files takes, and how many of them passed."""
    none, began, passed = NoScenarios(sandbox, challenge, 0), time.monotonic(), 0
    for source in files:
        result = grade_source(
            *(challenge, source.encode()),
            sandbox=sandbox,
            golden=golden,
            parallel=1,
            secret_inputs=inputs,
            scenarios=none,
        )
        passed += result.verdict == "passed"
    return time.monotonic() - began, passed


def main() -> int:
    """Print both medians and their ratio; the status is 1 when a verdict is wrong."""
    options = parser(__doc__)
    add_challenge(options)
    options.add_argument("rounds", nargs="?", type=many, default=5, metavar="ROUNDS")
    given = options.parse_args()
    challenge = load_challenge(given.challenge)
    os.environ.update(challenge.environment)  # before triton is imported
    import torch

    torch.set_num_threads(1)
    right = [
        path.read_text("utf-8") for path in sorted((CORRECT / challenge.id).glob("*.py"))[:FILES]
    ]
    wrong = [plant(challenge, [name]) for name in list(challenge.bugs)[: len(right)]]
    files = [*right, *wrong]
    verbs_of = execute_driver(challenge.folder / "driver.py", challenge.driver)["Verbs"]
    golden = prepare(challenge, list(challenge.cases.values()))
    with start_sandbox(challenge) as sandbox:
        sandbox.ready()
        with contextlib.closing(SecretInputs(sandbox, challenge, golden)) as inputs:
            asked = [inputs.of(case) for case in challenge.cases.values()]
            cases = [calls_of(sandbox, challenge, case) for case in asked]
            gc.freeze()
            apart = floor_seconds(files, verbs_of, cases, 1)
            floors, graded, passed = [], [], set()
            for _ in range(given.rounds):
                floors.append(floor_seconds(files, verbs_of, cases, len(cases)))
                seconds, number = graded_seconds(files, challenge, sandbox, golden, inputs)
                graded.append(seconds)
                passed.add(number)
    low, high = statistics.median(floors), statistics.median(graded)
    print(
        f"{challenge.id}: {len(right)} right and {len(wrong)} wrong files, {len(cases)} cases, {given.rounds} rounds"
    )
    print(f"bare calls: {1000 * low / len(files):.0f} ms a file in a process of its own")
    print(f"with a process for every case: {1000 * apart / len(files):.0f} ms a file")
    print(f"graded: {1000 * high / len(files):.0f} ms a file, {high / low:.2f}x the bare calls")
    return 0 if passed == {len(right)} else 1


if __name__ == "__main__":
    sys.exit(main())
