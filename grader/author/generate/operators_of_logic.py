"""Operators on masks, conditions, and names that are easily taken for each other."""

from __future__ import annotations

import ast

from grader.author.generate.operator_table import (
    Made,
    called,
    line_gone,
    operator,
    plain,
    rewritten,  # noqa: F401  the examples use it
)
from grader.author.generate.source_text import Replacement, SourceText

OPPOSITES: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.LtE: ("<=", ">="),
    ast.Lt: ("<", ">"),
    ast.GtE: (">=", "<="),
    ast.Gt: (">", "<"),
}
PAIRS = (
    ("k", "v"), ("key", "value"), ("keys", "values"), ("K", "V"), ("q", "k"), ("query", "key"), ("queries", "keys"),
    ("past", "new"), ("cos", "sin"), ("source", "target"), ("src", "dst"), ("first", "last"), ("start", "end"),
    ("rows", "tokens"), ("batch", "tokens"), ("row", "column"), ("old", "new"), ("page", "slot"), ("filled", "first"),
    ("query", "kv"), ("q", "kv"), ("before", "after"), ("total", "seq"), ("seq", "cache"), ("length", "capacity"),
)  # fmt: skip
STRIDES = (("b", "s"), ("s", "h"), ("b", "h"), ("b", "t"))
TWINS: dict[str, tuple[str, ...]] = {}
for _one, _other in PAIRS:
    TWINS[_one] = (*TWINS.get(_one, ()), _other)
    TWINS[_other] = (*TWINS.get(_other, ()), _one)


@operator("mask", ast.Compare)
def comparison_turned(node: ast.Compare, source: SourceText) -> Made:
    """Compare the wrong way round; nobody asks for less than 1 who wants more than 1.

    >>> rewritten(comparison_turned, "hidden = key_pos > query_pos")
    ['hidden = key_pos < query_pos']
    """
    parent = source.statement_of(node)
    if isinstance(parent, ast.If) and isinstance(parent.body[0], ast.Raise):
        return  # every call would be refused
    if isinstance(parent, ast.While):
        return  # the loop would do nothing, or go on for ever
    sides = [node.left, *node.comparators]
    for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
        if type(sign) in OPPOSITES and not isinstance(right, ast.Constant):
            yield from source.between(left, right, *OPPOSITES[type(sign)])


@operator("mask", ast.Call, ast.Attribute, ast.UnaryOp)
def blocked_by_zero(node: ast.expr, source: SourceText) -> Made:
    """Hide a score by 0, which still has a weight.

    >>> rewritten(blocked_by_zero, 'scores.masked_fill(hidden, float("-inf"))')
    ['scores.masked_fill(hidden, 0.0)']
    """
    text = source.of(node)
    if text in ('float("-inf")', "float('-inf')", "-math.inf", "-torch.inf"):
        yield source.replaced(node, "0.0")


@operator("mask", ast.Call)
def mask_inverted(node: ast.Call, source: SourceText) -> Made:
    """Hide what should be seen.

    >>> rewritten(mask_inverted, "scores.masked_fill(hidden, low)")
    ['scores.masked_fill(~hidden, low)']
    """
    if called(node) in ("masked_fill", "masked_fill_", "where") and node.args:
        mask = node.args[0]
        if plain(mask):
            yield source.replaced(mask, f"~{source.of(mask)}")


@operator("mask", ast.UnaryOp)
def negation_dropped(node: ast.UnaryOp, source: SourceText) -> Made:
    """Forget a negation.

    >>> rewritten(negation_dropped, "hidden = ~visible")
    ['hidden = visible']
    """
    if isinstance(node.op, ast.Invert | ast.Not):
        yield Replacement(source.span(node)[0], source.span(node.operand)[0], "")


@operator("mask", ast.BinOp)
def condition_dropped(node: ast.BinOp, source: SourceText) -> Made:
    """Forget one of the conditions that a mask combines.

    >>> rewritten(condition_dropped, "visible = filled & causal")
    ['visible = filled', 'visible = causal']
    """
    if isinstance(node.op, ast.BitAnd | ast.BitOr):
        start, end = source.span(node)
        sign = "&" if isinstance(node.op, ast.BitAnd) else "|"
        gap = source.text[source.span(node.left)[1] : source.span(node.right)[0]]
        if gap.count(sign) == 1:
            at = source.span(node.left)[1] + gap.index(sign)
            yield Replacement(start, end, source.text[start:at].rstrip())
            yield Replacement(start, end, source.text[at + 1 : end].lstrip())


@operator("mask", ast.BinOp)
def conditions_joined_otherwise(node: ast.BinOp, source: SourceText) -> Made:
    """Let one condition suffice where both must hold.

    >>> rewritten(conditions_joined_otherwise, "inside = real & fits")
    ['inside = real | fits']
    """
    if isinstance(node.op, ast.BitAnd):
        yield from source.between(node.left, node.right, "&", "|")
    elif isinstance(node.op, ast.BitOr):
        yield from source.between(node.left, node.right, "|", "&")


@operator("condition", ast.Compare)
def none_test_turned(node: ast.Compare, source: SourceText) -> Made:
    """Ask for the opposite of what is meant.

    >>> rewritten(none_test_turned, "if cache is None: pass")
    ['if cache is not None: pass']
    """
    if isinstance(node.ops[0], ast.Is):
        yield from source.between(node.left, node.comparators[0], "is", "is not")
    elif isinstance(node.ops[0], ast.IsNot):
        yield from source.between(node.left, node.comparators[0], "is not", "is")


@operator("condition", ast.Call)
def any_for_all(node: ast.Call, source: SourceText) -> Made:
    """Ask whether one is so where all must be, or the reverse.

    >>> rewritten(any_for_all, "if not all(ready): pass")
    ['if not any(ready): pass']
    """
    name = called(node)
    if name in ("any", "all"):
        end = source.span(node.func)[1]
        yield Replacement(end - 3, end, "all" if name == "any" else "any")


@operator("condition", ast.BoolOp)
def and_for_or(node: ast.BoolOp, source: SourceText) -> Made:
    """Let one condition suffice where both are needed, or the reverse.

    >>> rewritten(and_for_or, "if causal and tokens > 1: pass")
    ['if causal or tokens > 1: pass']
    """
    old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    if len(node.values) == 2:
        yield from source.between(node.values[0], node.values[1], old, new)


@operator("condition", ast.BoolOp)
def test_dropped(node: ast.BoolOp, source: SourceText) -> Made:
    """Forget the second of two conditions.

    >>> rewritten(test_dropped, "if causal and tokens > 1: pass")
    ['if causal: pass']
    """
    if len(node.values) == 2:
        first = node.values[0]
        if (
            not isinstance(first, ast.Compare | ast.BoolOp)
            or source.text[source.span(node)[0]] != "("
        ):
            yield Replacement(source.span(first)[1], source.span(node)[1], "")


@operator("condition", ast.Constant)
def switch_turned(node: ast.Constant, source: SourceText) -> Made:
    """Set a switch the wrong way.

    >>> rewritten(switch_turned, "update(cache, in_place=False)")
    ['update(cache, in_place=True)']
    """
    if isinstance(node.value, bool):
        yield source.replaced(node, str(not node.value))


@operator("condition", ast.IfExp)
def case_left_out(node: ast.IfExp, source: SourceText) -> Made:
    """Answer both of two cases as one of them should be.

    >>> rewritten(case_left_out, "factor = head_dim**-0.5 if scale is None else scale")
    ['factor = head_dim**-0.5', 'factor = scale']
    """
    for kept in (node.body, node.orelse):
        if not isinstance(kept, ast.Constant):
            yield source.replaced(node, source.of(kept))


@operator("condition", ast.If)
def check_dropped(node: ast.If, source: SourceText) -> Made:
    """Forget a check that refuses, or answers at once.

    >>> rewritten(check_dropped, "def f(n):\\n    if n > 4:\\n        raise ValueError(n)\\n    return n\\n")
    ['def f(n):\\n    return n\\n']
    """
    ends = isinstance(node.body[0], ast.Raise | ast.Return | ast.Continue)
    parent = source.parents.get(node)
    if ends and len(node.body) == 1 and not node.orelse and node in getattr(parent, "body", ()):
        yield from line_gone(node, source)


@operator("twin", ast.Name)
def twin_name(node: ast.Name, source: SourceText) -> Made:
    """Take the name that looks alike.

    >>> rewritten(twin_name, "def f(k_new, v_new):\\n    return g(k_new)")
    ['def f(k_new, v_new):\\n    return g(v_new)']
    """
    if isinstance(node.ctx, ast.Load):
        known, beside = source.names_at(node), _items_beside(node, source)
        for twin in twins(node.id):
            if twin in known and twin not in beside:
                yield source.replaced(node, twin)


@operator("twin", ast.Attribute)
def twin_attribute(node: ast.Attribute, source: SourceText) -> Made:
    """Take the attribute that looks alike.

    >>> rewritten(twin_attribute, "self.keys.update(keys)\\nself.values.update(values)")
    ['self.values.update(keys)\\nself.values.update(values)', 'self.keys.update(keys)\\nself.keys.update(values)']
    """
    if isinstance(node.ctx, ast.Load):
        end = source.span(node)[1]
        for twin in twins(node.attr):
            if twin in source.attributes:
                yield Replacement(end - len(node.attr), end, twin)


@operator("twin", ast.Constant)
def twin_key(node: ast.Constant, source: SourceText) -> Made:
    """Look under the key that looks alike.

    >>> rewritten(twin_key, 'k, v = cache["key"], cache["value"]')
    ['k, v = cache["value"], cache["value"]', 'k, v = cache["key"], cache["key"]']
    """
    if isinstance(node.value, str) and isinstance(source.parents.get(node), ast.Subscript):
        quote = source.of(node)[0]
        for twin in twins(node.value):
            if f"{quote}{twin}{quote}" in source.text:
                yield source.replaced(node, f"{quote}{twin}{quote}")


@operator("kernels", ast.Name)
def stride_of_other_axis(node: ast.Name, source: SourceText) -> Made:
    """Step by the stride of another axis, or of another tensor.

    >>> rewritten(stride_of_other_axis, "def f(K, k_b, k_s):\\n    return K + row * k_b")
    ['def f(K, k_b, k_s):\\n    return K + row * k_s']
    """
    if isinstance(node.ctx, ast.Load) and len(node.id) == 3 and node.id[1] == "_":
        known = source.names_at(node)
        for one, other in STRIDES:
            for mine, theirs in ((one, other), (other, one)):
                if node.id[2] == mine and f"{node.id[:2]}{theirs}" in known:
                    yield source.replaced(node, f"{node.id[:2]}{theirs}")


def _items_beside(node: ast.Name, source: SourceText) -> set[str]:
    """Return the names that stand beside one in a list, or in what is gone through: nobody writes `[new, new]`."""
    parent = source.parents.get(node)
    around = source.parents.get(parent) if parent is not None else None
    if isinstance(parent, ast.List) or (
        isinstance(parent, ast.Tuple) and isinstance(around, ast.comprehension | ast.For)
    ):
        return {item.id for item in parent.elts if isinstance(item, ast.Name)}
    return set()


def twins(name: str) -> list[str]:
    """Return the names that a name is taken for: one part of it is replaced.

    >>> twins("k_new"), twins("offset")
    (['v_new', 'q_new', 'k_past', 'k_old'], [])
    """
    parts = name.split("_")
    return [
        "_".join([*parts[:i], twin, *parts[i + 1 :]])
        for i, part in enumerate(parts)
        for twin in TWINS.get(part, ())
    ]
