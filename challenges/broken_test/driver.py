"""Verbs of the broken_test challenge: the file is a test, and what it is tried on are kernels.

The kernel of `static_cache` and its planted bugs are sent in as text; a test is data and runs nothing itself. It is
validated and its cost is estimated before anything is computed.
"""

import json
import types
from pathlib import Path

import numpy as np

from grader.kit import Wrong, both_sides, choice, choices, made, verb

MOST_WORK, MOST_CALLS = 4_000_000, 40
NEAR = 1e-4  # float32 against float64, on numbers of size one
UNUSED = {"zeros": 0.0, "junk": 50.0, "nan": float("nan")}


class Setup:
    """Nothing: a test says its own sizes."""


# Files of this and another challenge, read on the trusted side alone; `reads` in challenge.json names them.


def right_kernel():
    """The text of the kernel that every test must accept."""
    root = Path(__file__).parents[2]
    return (root / "reference" / "static_cache.py").read_text("utf-8")


def planted_bugs():
    """The bugs of `static_cache` by id."""
    path = Path(__file__).parents[1] / "static_cache" / "bugs.json"
    entries = json.loads(path.read_text("utf-8"))["bugs"]
    return {entry["id"]: entry for entry in entries if entry["kind"] == "bug"}


def broken_kernel(bug):
    """The kernel with one bug in it."""
    text = right_kernel()
    for edit in bug["edits"]:
        if text.count(edit["find"]) != 1:
            raise ValueError(f"{bug['id']} cannot be planted in the kernel")
        text = text.replace(edit["find"], edit["replace"])
    return text


Mutant = choice(lambda: sorted(planted_bugs()), "Id of a bug of static_cache.")


@made("kernel", "schema")
def what_tests_need(case):
    """The right kernel, and the schema that a file of tests must follow."""
    schema = Path(__file__).with_name("broken_test.schema.json")
    return right_kernel(), schema.read_text("utf-8")


@made("symptom", "text")
def one_mutant(case, mutant: Mutant):
    """What a user sees of a bug, and the kernel with it."""
    bug = planted_bugs()[mutant]
    return bug["symptom"], broken_kernel(bug)


@made("mutants")
def several_mutants(
    case, mutants: choices(Mutant, "Ids of bugs of static_cache.", length=(1, 40))
):  # fmt: skip
    """Kernels with one bug each, by the id of the bug."""
    bugs = planted_bugs()
    return {name: broken_kernel(bugs[name]) for name in mutants}


# Calls: a test that the right kernel does not pass catches nothing.


@verb
def create(file, kernel, schema):
    """Read the tests, and run the right kernel on each: in float64 for what is expected, and as a submission is run."""
    import torch

    torch.set_grad_enabled(False)
    right, keep = load(kernel), file.keep
    keep.tests = tests_of(file.document, json.loads(schema))
    keep.prepared = [PreparedTest(test, right) for test in keep.tests]
    keep.faults = [test.fault(right) for test in keep.prepared]
    return {"read": True}


@verb
def accept(file):
    """The right kernel must pass every test."""
    for test, fault in zip(file.keep.tests, file.keep.faults, strict=True):
        if fault:
            told = f"The kernel is right, your test {test['name']!r} is not: {fault}"
            raise Wrong("wrong_value", told)
    return {"accepted": True}


@verb
def refuse(file, symptom, text):
    """A broken kernel must fail some test that the right one passes."""
    if not caught(file.keep, text):
        pairs = zip(file.keep.tests, file.keep.faults, strict=True)
        wrong = [repr(test["name"]) for test, fault in pairs if fault]
        which = wrong[0] if len(wrong) == 1 else str(len(wrong))
        also = f" (not counting {which}, which the right kernel fails)" if wrong else ""
        raise Wrong("wrong_value", f"None of your tests{also} notices. {symptom}")
    return {"refused": True}


@verb
def refuse_all(file, mutants):
    """Each of several broken kernels must fail some test that the right one passes."""
    missed = [name for name, text in mutants.items() if not caught(file.keep, text)]
    if missed:
        raise Wrong("wrong_value", f"{len(missed)} of {len(mutants)} broken kernels pass.")
    return {"refused": True}


def caught(keep, text):
    """Whether a test that the right kernel passes fails this kernel."""
    mutant = load(text)
    pairs = zip(keep.prepared, keep.faults, strict=True)
    return any(test.fault(mutant) for test, wrong in pairs if not wrong)


class PreparedTest:
    """One test with its inputs and what the right kernel answers in float64."""

    def __init__(self, test, kernel):
        self.test = test
        self.past, self.inputs = inputs_of(test)
        self.refused = None
        try:
            self.outputs, self.lengths = self._answers(kernel)
        except ValueError as error:
            self.refused = f"the oracle refuses it: {error}"

    def _answers(self, kernel):
        """Outputs of the calls that are not to be refused, and the lengths after each."""
        import torch

        test, oracle = self.test, self.test.get("oracle", {})
        causal = oracle.get("is_causal", test.get("is_causal", False))
        calls = [[x.double() for x in call] for call in self.inputs]
        kept = calls[:-1] if test.get("refused") else calls
        past = self.past and (*(x.double() for x in self.past[:2]), self.past[2])
        lengths, total = [], self._start()
        for call in kept:
            total = total + call[0].shape[2]
            lengths.append(total)
        if oracle.get("calls", "same") == "one" and kept:
            whole = [torch.cat(parts, dim=2) for parts in zip(*kept, strict=True)]
            output, _ = self._call(kernel, whole, past, causal)
            return list(output.split([call[0].shape[2] for call in kept], dim=2)), lengths
        outputs = []
        for call in kept:
            output, past = self._call(kernel, call, past, causal)
            outputs.append(output)
        return outputs, lengths

    def fault(self, kernel):
        """Say what a kernel does otherwise than the oracle; None when it agrees."""
        if self.refused:
            return self.refused
        past = self.past and tuple(x.clone() for x in self.past)
        causal = self.test.get("is_causal", False)
        for index, call in enumerate(self.inputs):
            last = index == len(self.inputs) - 1
            try:
                output, past = self._call(kernel, call, past, causal)
            except ValueError as error:
                if last and self.test.get("refused"):
                    return None
                return f"call {index} raised ValueError: {error}"
            except Exception as error:
                return f"call {index} raised {type(error).__name__}: {error}"
            if last and self.test.get("refused"):
                return f"call {index} was to be refused, and returned"
            wrong = self._differs(index, output, past)
            if wrong:
                return wrong
        return None

    def _differs(self, index, output, past):
        want = self.outputs[index]
        if output.shape != want.shape:
            return f"call {index} returned {list(output.shape)}, the oracle {list(want.shape)}"
        if self.test.get("compare", "values") == "shapes":
            return None
        if past[2].tolist() != self.lengths[index].tolist():
            lengths = self.lengths[index].tolist()
            return f"after call {index} the lengths are {past[2].tolist()}, not {lengths}"
        gap = (output.double() - want).abs()
        if bool((gap <= NEAR * want.abs().clamp(min=1)).all()):
            return None
        return f"call {index} differs by {float(gap.max()):.2f} from your oracle.{self._why()}"

    def _why(self):
        """Name the oracle that is the wrong one for the run."""
        oracle, runs_causal = self.test.get("oracle", {}), self.test.get("is_causal", False)
        causal, one = oracle.get("is_causal", runs_causal), oracle.get("calls") == "one"
        if runs_causal and not causal:
            return " A causal run is compared with a non-causal oracle, which sees later tokens."
        if causal and not runs_causal:
            return " A non-causal run is compared with a causal oracle, which hides later tokens."
        if one and not causal:
            return (
                " A call that is not causal sees what is there so far; one call over all tokens"
                " sees those of later calls too."
            )
        return ""

    def _call(self, kernel, call, past, causal):
        test = self.test
        return kernel.attention_with_kv_cache(
            *call, past, cache_max_len=test["slots"], is_causal=causal, scale=test.get("scale")
        )

    def _start(self):
        import torch

        return torch.tensor(self.test.get("start") or [0] * self.test["batch"])


def tests_of(document, schema):
    """The tests of a submitted document, or what is wrong with it; none is run that would cost too much."""
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(schema).iter_errors(document), key=lambda e: e.json_path)
    if errors:
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        message = errors[0].message[:300]
        raise Wrong("wrong_value", f"{errors[0].json_path}: {message}{more}")
    tests = document["tests"]
    for index, test in enumerate(tests):
        where, start = f"$.tests[{index}]", test.get("start")
        if test["query_heads"] % test["kv_heads"]:
            raise Wrong("wrong_value", f"{where}.query_heads: must be a multiple of kv_heads")
        if start and len(start) != test["batch"]:
            raise Wrong("wrong_value", f"{where}.start: needs one length per row of the batch")
        if start and max(start) > test["slots"]:
            raise Wrong("wrong_value", f"{where}.start: a row cannot hold more than its slots")
    calls, work = sum(len(test["calls"]) for test in tests), sum(map(work_of, tests))
    if calls > MOST_CALLS or work > MOST_WORK:
        raise Wrong(
            "wrong_value",
            f"$.tests: {calls} calls and {work} products, at most {MOST_CALLS} and {MOST_WORK}"
            " are run: use fewer or smaller tests",
        )
    return tests


def work_of(test):
    """Products of numbers that a test computes, at most."""
    size = test["batch"] * test["query_heads"] * test["slots"] * test["head_dim"]
    return size * (sum(test["calls"]) + len(test["calls"]))


def inputs_of(test):
    """The cache to start from, or None, and query, key and value of every call."""
    import torch

    bits = np.random.Philox(key=[test.get("seed", 0), 0])

    def draw(*shape):
        count = int(np.prod(shape))
        words = np.atleast_1d(bits.random_raw(count)) if count else np.zeros(0, np.uint64)
        unit = (words >> np.uint64(11)) * 2.0**-53
        return torch.tensor((2 * unit - 1) * 3.0**0.5, dtype=torch.float32).reshape(shape)

    batch, heads, dim = test["batch"], test["kv_heads"], test["head_dim"]
    past = None
    if test.get("start"):
        lengths = torch.tensor(test["start"], dtype=torch.int32)
        beyond = torch.arange(test["slots"]) >= lengths[:, None]
        blank = UNUSED[test.get("unused", "zeros")]
        both = (draw(batch, heads, test["slots"], dim) for _ in range(2))
        past = (*(x.masked_fill(beyond[:, None, :, None], blank) for x in both), lengths)
    counts = (test["query_heads"], heads, heads)
    return past, [[draw(batch, h, tokens, dim) for h in counts] for tokens in test["calls"]]


def load(text):
    """Execute a kernel's text as a module."""
    module = types.ModuleType("kernel")
    exec(compile(text, "static_cache.py", "exec", dont_inherit=True), module.__dict__)
    return module


Plan, Verbs = both_sides(globals())
