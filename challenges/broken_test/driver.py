"""Verbs of the broken_test challenge: the file is a test, and what it is tried on are kernels.

The kernel of `static_cache` and its planted bugs are sent in as text; a test is data and runs nothing itself. It is
validated and priced before anything is computed.
"""

import json
import types
from pathlib import Path

import numpy as np

from grader.kit import Wrong, need

MOST_WORK, MOST_CALLS = 4_000_000, 40
NEAR = 1e-4  # float32 against float64, on numbers of size one
UNUSED = {"zeros": 0.0, "junk": 50.0, "nan": float("nan")}


class Plan:
    """Sends the kernel, the schema of tests, and what is planted; draws nothing."""

    def __init__(self, setup, draw):
        here = Path(__file__).parent
        self.kernel = (here.parents[1] / "reference" / "static_cache.py").read_text("utf-8")
        self.schema = (here / "broken_test.schema.json").read_text("utf-8")
        bugs = json.loads((here.parent / "static_cache" / "bugs.json").read_text("utf-8"))["bugs"]
        self.bugs = {bug["id"]: bug for bug in bugs}

    def create(self):
        return {"kernel": self.kernel, "schema": self.schema}

    def refuse(self, mutant):
        return {"symptom": self.bugs[mutant]["symptom"], "text": self._planted(mutant)}

    def refuse_all(self, mutants):
        return {"mutants": {name: self._planted(name) for name in mutants}}

    def _planted(self, mutant):
        text = self.kernel
        for edit in self.bugs[mutant]["edits"]:
            if text.count(edit["find"]) != 1:
                raise ValueError(f"{mutant} cannot be planted in the kernel")
            text = text.replace(edit["find"], edit["replace"])
        return text


class Verbs:
    """Runs the submitted tests; one that the right kernel does not pass catches nothing."""

    def __init__(self, submission):
        self.document = need(submission, "document")

    def create(self, *, dtype, kernel, schema):
        import torch

        torch.set_grad_enabled(False)
        self.tests = _tests(self.document, json.loads(schema))
        self.kernel = _load(kernel)
        self.wanted = [_Oracle(test, self.kernel) for test in self.tests]
        self.faults = [oracle.fault(self.kernel) for oracle in self.wanted]
        return {"read": True}

    def accept(self):
        for test, fault in zip(self.tests, self.faults, strict=True):
            if fault:
                raise Wrong(
                    "wrong_value", f"The kernel is right, your test {_named(test)} is not: {fault}"
                )
        return {"accepted": True}

    def refuse(self, *, symptom, text):
        if not self._catches(text):
            wrong = [test for test, fault in zip(self.tests, self.faults, strict=True) if fault]
            which = _named(wrong[0]) if len(wrong) == 1 else str(len(wrong))
            also = f" (not counting {which}, which the right kernel fails)" if wrong else ""
            raise Wrong("wrong_value", f"None of your tests{also} notices. {symptom}")
        return {"refused": True}

    def refuse_all(self, *, mutants):
        missed = [name for name, text in mutants.items() if not self._catches(text)]
        if missed:
            raise Wrong("wrong_value", f"{len(missed)} of {len(mutants)} broken kernels pass.")
        return {"refused": True}

    def _catches(self, text):
        mutant = _load(text)
        pairs = zip(self.wanted, self.faults, strict=True)
        return any(oracle.fault(mutant) for oracle, wrong in pairs if not wrong)


class _Oracle:
    """One test with its inputs and what the right kernel answers in float64."""

    def __init__(self, test, kernel):
        self.test = test
        self.past, self.inputs = _inputs(test)
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


def _tests(document, schema):
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
    calls, work = sum(len(test["calls"]) for test in tests), sum(map(_work, tests))
    if calls > MOST_CALLS or work > MOST_WORK:
        raise Wrong(
            "wrong_value",
            f"$.tests: {calls} calls and {work} products, at most {MOST_CALLS} and {MOST_WORK}"
            " are run: use fewer or smaller tests",
        )
    return tests


def _work(test):
    size = test["batch"] * test["query_heads"] * test["slots"] * test["head_dim"]
    return size * (sum(test["calls"]) + len(test["calls"]))


def _inputs(test):
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


def _load(text):
    module = types.ModuleType("kernel")
    exec(compile(text, "static_cache.py", "exec", dont_inherit=True), module.__dict__)
    return module


def _named(test):
    return repr(test["name"])
