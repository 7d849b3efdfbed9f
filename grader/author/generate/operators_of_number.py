"""Operators on numbers: off by one, offsets, factors, reductions, precision."""

from __future__ import annotations

import ast
import re

from grader.author.generate.operator_table import (
    Made,
    called,
    operator,
    plain,
    rewritten,  # noqa: F401  the examples use it
    whole,
)
from grader.author.generate.source_text import Replacement, SourceText

BORDERS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.LtE: ("<=", "<"),
    ast.Lt: ("<", "<="),
    ast.GtE: (">=", ">"),
    ast.Gt: (">", ">="),
}
EXTREMES = {
    "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum",
    "amax": "amin", "amin": "amax", "ceil": "floor", "floor": "ceil",
}  # fmt: skip
FRACTION = re.compile(
    r"scale|factor|decay|sqrt|norm|exp|theta|freq|weight|score|product|total|prob", re.IGNORECASE
)
NARROWER = {"torch.float32": "torch.float16", "torch.int64": "torch.int32", "tl.int64": "tl.int32"}


@operator("off by one", ast.Compare)
def border_moved(node: ast.Compare, source: SourceText) -> Made:
    """Count the border in, or out.

    >>> rewritten(border_moved, "visible = key_pos <= query_pos")
    ['visible = key_pos < query_pos']
    """
    sides = [node.left, *node.comparators]
    for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
        if type(sign) in BORDERS:
            yield from source.between(left, right, *BORDERS[type(sign)])


@operator("off by one", ast.Constant)
def number_one_up(node: ast.Constant, source: SourceText) -> Made:
    """Take one more than is right.

    >>> rewritten(number_one_up, "half = head_dim // 2")
    ['half = head_dim // 3']
    """
    if whole(node) in (1, 2) and not isinstance(source.parents.get(node), ast.UnaryOp):
        yield source.replaced(node, str((whole(node) or 0) + 1))


@operator("off by one", ast.Constant)
def number_one_down(node: ast.Constant, source: SourceText) -> Made:
    """Take one less than is right.

    >>> rewritten(number_one_down, "start = 1")
    ['start = 0']
    """
    parent = source.parents.get(node)
    factor = isinstance(parent, ast.BinOp) and not isinstance(parent.op, ast.Pow)
    if whole(node) in (1, 2) and not isinstance(parent, ast.UnaryOp) and not factor:
        yield source.replaced(node, str((whole(node) or 0) - 1))


@operator("off by one", ast.Slice)
def slice_ends_early(node: ast.Slice, source: SourceText) -> Made:
    """End a slice one item early.

    >>> rewritten(slice_ends_early, "keys[:, :filled]")
    ['keys[:, :filled - 1]']
    """
    if node.upper is not None and plain(node.upper):
        yield source.replaced(node.upper, f"{source.of(node.upper)} - 1")


@operator("off by one", ast.Slice)
def slice_ends_late(node: ast.Slice, source: SourceText) -> Made:
    """End a slice one item late.

    >>> rewritten(slice_ends_late, "keys[:filled]")
    ['keys[:filled + 1]']
    """
    if node.upper is not None and plain(node.upper):
        yield source.replaced(node.upper, f"{source.of(node.upper)} + 1")


@operator("off by one", ast.Slice)
def slice_begins_late(node: ast.Slice, source: SourceText) -> Made:
    """Begin a slice one item late.

    >>> rewritten(slice_begins_late, "tokens[done:]")
    ['tokens[done + 1 :]']
    """
    if node.lower is not None and plain(node.lower) and node.upper is None and node.step is None:
        yield source.replaced(node, f"{source.of(node.lower)} + 1 :")


@operator("off by one", ast.Slice)
def other_side_of_slice(node: ast.Slice, source: SourceText) -> Made:
    """Keep the part that should go.

    >>> rewritten(other_side_of_slice, "keys[:n]")
    ['keys[n:]']
    """
    if node.step is not None or (node.lower is None) == (node.upper is None):
        return
    if node.lower is not None:
        yield source.replaced(node, f":{source.of(node.lower)}")
    elif node.upper is not None:
        yield source.replaced(node, f"{source.of(node.upper)}:")


@operator("offset", ast.BinOp)
def sign_flipped(node: ast.BinOp, source: SourceText) -> Made:
    """Add where the difference is meant, or the reverse.

    >>> rewritten(sign_flipped, "before = kv_len - queries")
    ['before = kv_len + queries']
    """
    if isinstance(node.op, ast.Add) and not is_pointer(node.left):
        yield from source.between(node.left, node.right, "+", "-")
    elif isinstance(node.op, ast.Sub):
        yield from source.between(node.left, node.right, "-", "+")


@operator("offset", ast.BinOp)
def term_dropped(node: ast.BinOp, source: SourceText) -> Made:
    """Forget what is added or taken away.

    >>> rewritten(term_dropped, "query_pos = torch.arange(n) + offset")
    ['query_pos = torch.arange(n)']
    """
    if isinstance(node.op, ast.Add | ast.Sub):
        yield without_right(node, source)


@operator("offset", ast.BinOp)
def left_term_dropped(node: ast.BinOp, source: SourceText) -> Made:
    """Forget where the counting begins.

    >>> rewritten(left_term_dropped, "return start + torch.arange(n)")
    ['return torch.arange(n)']
    """
    if isinstance(node.op, ast.Add) and plain(node.left):
        yield Replacement(source.span(node)[0], source.span(node.right)[0], "")


@operator("offset", ast.Call)
def counted_from_zero(node: ast.Call, source: SourceText) -> Made:
    """Number the new tokens from 0, whatever stands before them.

    >>> rewritten(counted_from_zero, "torch.arange(past, past + new)")
    ['torch.arange(new)']
    """
    if called(node) != "arange" or len(node.args) != 2 or whole(node.args[0]) == 0:
        return
    begin, end = node.args
    if (
        isinstance(end, ast.BinOp)
        and isinstance(end.op, ast.Add)
        and source.of(end.left) == source.of(begin)
    ):
        span = (source.span(begin)[0], source.span(end)[1])
        yield Replacement(*span, source.of(end.right))


@operator("scale", ast.BinOp)
def factor_dropped(node: ast.BinOp, source: SourceText) -> Made:
    """Forget a factor or a divisor.

    >>> rewritten(factor_dropped, "return scores / self.scale")
    ['return scores']
    """
    if isinstance(node.op, ast.Mult | ast.Div):
        yield without_right(node, source)


@operator("scale", ast.BinOp)
def factor_inverted(node: ast.BinOp, source: SourceText) -> Made:
    """Multiply where a division is meant, or the reverse.

    >>> rewritten(factor_inverted, "scores = products * scale")
    ['scores = products / scale']
    """
    if isinstance(node.op, ast.Mult) and FRACTION.search(source.of(node)):
        yield from source.between(node.left, node.right, "*", "/")
    elif isinstance(node.op, ast.Div):
        yield from source.between(node.left, node.right, "/", "*")


@operator("scale", ast.Call)
def root_dropped(node: ast.Call, source: SourceText) -> Made:
    """Forget the square root.

    >>> rewritten(root_dropped, "scale = math.sqrt(head_dim)")
    ['scale = head_dim']
    """
    if called(node) == "sqrt" and len(node.args) == 1:
        yield source.replaced(node, source.of(node.args[0]))


@operator("scale", ast.BinOp)
def exponent_changed(node: ast.BinOp, source: SourceText) -> Made:
    """Divide by the number itself, not by its root.

    >>> rewritten(exponent_changed, "scale = head_dim**-0.5")
    ['scale = head_dim**-1.0']
    """
    if isinstance(node.op, ast.Pow) and source.of(node.right) in ("-0.5", "0.5"):
        yield source.replaced(node.right, source.of(node.right).replace("0.5", "1.0"))


@operator("reduction", ast.Call)
def extreme_swapped(node: ast.Call, source: SourceText) -> Made:
    """Take the smallest where the largest is meant, or round the other way.

    >>> rewritten(extreme_swapped, "end = min(start + TILE, length)")
    ['end = max(start + TILE, length)']
    """
    if (name := called(node)) in EXTREMES:
        end = source.span(node.func)[1]
        yield Replacement(end - len(name), end, EXTREMES[name])


@operator("reduction", ast.BinOp)
def quotient_or_rest(node: ast.BinOp, source: SourceText) -> Made:
    """Take the rest where the quotient is meant, or the reverse.

    >>> rewritten(quotient_or_rest, "page = token // PAGE")
    ['page = token % PAGE']
    """
    if isinstance(node.op, ast.FloorDiv):
        yield from source.between(node.left, node.right, "//", "%")
    elif isinstance(node.op, ast.Mod) and not isinstance(node.left, ast.Constant | ast.JoinedStr):
        yield from source.between(node.left, node.right, "%", "//")


@operator("reduction", ast.Call)
def mean_or_sum(node: ast.Call, source: SourceText) -> Made:
    """Add up where the mean is meant, or the reverse.

    >>> rewritten(mean_or_sum, "norm = x.pow(2).mean(-1, keepdim=True)")
    ['norm = x.pow(2).sum(-1, keepdim=True)']
    """
    name = called(node)
    if name in ("sum", "mean") and isinstance(node.func, ast.Attribute):
        end = source.span(node.func)[1]
        yield Replacement(end - len(name), end, "mean" if name == "sum" else "sum")


@operator("dtype", ast.keyword)
def dtype_narrowed(node: ast.keyword, source: SourceText) -> Made:
    """Compute or count in a narrower type.

    >>> rewritten(dtype_narrowed, "torch.zeros(n, dtype=torch.float32)")
    ['torch.zeros(n, dtype=torch.float16)']
    """
    if node.arg == "dtype" and source.of(node.value) in NARROWER:
        yield source.replaced(node.value, NARROWER[source.of(node.value)])


@operator("dtype", ast.Call)
def cast_dropped(node: ast.Call, source: SourceText) -> Made:
    """Stay in the type of the input.

    >>> rewritten(cast_dropped, "x.float().softmax(-1)")
    ['x.softmax(-1)']
    """
    if called(node) in ("float", "double", "to", "long") and isinstance(node.func, ast.Attribute):
        yield Replacement(source.span(node.func.value)[1], source.span(node)[1], "")


def without_right(node: ast.BinOp, source: SourceText) -> Replacement:
    """Return the change that leaves only the left operand of a sign."""
    start = source.span(node.left)[1]
    closing = re.match(r"[ \t]*\)*", source.text[start : source.span(node.right)[0]])
    start += len(closing[0].rstrip()) if closing else 0
    return Replacement(start, source.span(node)[1], "")


def is_pointer(node: ast.expr) -> bool:
    """Whether a sum begins with the pointer of a kernel, spelt `K` or `PageTable`: nobody subtracts from one."""
    while isinstance(node, ast.BinOp):
        node = node.left
    if not isinstance(node, ast.Name):
        return False
    return node.id in ("Q", "K", "V", "O") or (node.id[:1].isupper() and len(node.id) > 1)
