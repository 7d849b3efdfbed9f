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
COUNTED = re.compile(r"arange|position|step|slot|index")  # what goes up from where it begins
EXTREMES = {
    "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum",
    "amax": "amin", "amin": "amax", "ceil": "floor", "floor": "ceil",
}  # fmt: skip
# names of factors that somebody may take for their inverse
FRACTION = re.compile(r"scale|factor|r?sqrt|freq|theta|inv|ratio", re.IGNORECASE)
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
    """Take one more than is right; nobody divides by 3 what is to be halved.

    >>> rewritten(number_one_up, "tokens = size + 1")
    ['tokens = size + 2']
    """
    parent = source.parents.get(node)
    factor = isinstance(parent, ast.BinOp) and not isinstance(parent.op, ast.Add | ast.Sub)
    counted = isinstance(parent, ast.UnaryOp | ast.AugAssign)
    if whole(node) in (1, 2) and not counted and not factor:
        yield source.replaced(node, str((whole(node) or 0) + 1))


@operator("off by one", ast.Constant)
def number_one_down(node: ast.Constant, source: SourceText) -> Made:
    """Take one less than is right.

    >>> rewritten(number_one_down, "start = 1")
    ['start = 0']
    """
    parent = source.parents.get(node)
    if whole(node) in (1, 2) and not isinstance(parent, ast.UnaryOp | ast.BinOp):
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


@operator("off by one", ast.Call)
def counted_from_one(node: ast.Call, source: SourceText) -> Made:
    """Number things from 1 that are numbered from 0.

    >>> rewritten(counted_from_one, "slots = torch.arange(size, device=x.device)")
    ['slots = torch.arange(1, size + 1, device=x.device)']
    """
    if source.of(node.func) == "torch.arange" and len(node.args) == 1 and plain(node.args[0]):
        yield source.replaced(node.args[0], f"1, {source.of(node.args[0])} + 1")


@operator("offset", ast.Call)
def loop_from_zero(node: ast.Call, source: SourceText) -> Made:
    """Let a loop begin at 0 that should go on behind what is done.

    >>> rewritten(loop_from_zero, "for i in range(done, count): pass")
    ['for i in range(count): pass']
    """
    if called(node) == "range" and len(node.args) == 2 and whole(node.args[0]) != 0:
        yield Replacement(source.span(node.args[0])[0], source.span(node.args[1])[0], "")


@operator("off by one", ast.Call)
def loop_ends_early(node: ast.Call, source: SourceText) -> Made:
    """Leave out the last round of a loop, or the first.

    >>> rewritten(loop_ends_early, "for step in range(count): pass")
    ['for step in range(count - 1): pass', 'for step in range(1, count): pass']
    """
    if called(node) == "range" and len(node.args) == 1 and plain(node.args[0]):
        count = source.of(node.args[0])
        yield source.replaced(node.args[0], f"{count} - 1")
        yield source.replaced(node.args[0], f"1, {count}")


@operator("offset", ast.UnaryOp)
def minus_dropped(node: ast.UnaryOp, source: SourceText) -> Made:
    """Forget a minus.

    >>> rewritten(minus_dropped, "torch.cat((-second, first), dim=-1)")
    ['torch.cat((second, first), dim=-1)']
    """
    if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        infinite = source.of(node.operand) in ("math.inf", "torch.inf")
        if not infinite:
            yield Replacement(source.span(node)[0], source.span(node)[0] + 1, "")


@operator("offset", ast.BinOp)
def sign_flipped(node: ast.BinOp, source: SourceText) -> Made:
    """Add where the difference is meant, or the reverse.

    Nobody takes away what a sum grows by or what a layer adds, counts down, or takes a small number from what is to
    stay above 0.

    >>> rewritten(sign_flipped, "before = kv_len - queries")
    ['before = kv_len + queries']
    >>> rewritten(sign_flipped, "total = total + weights")
    []
    """
    if isinstance(node.op, ast.Add):
        counted = COUNTED.search(source.of(node.right))
        tiny = isinstance(node.right, ast.Constant) and isinstance(node.right.value, float)
        layer = isinstance(node.right, ast.Call) and source.of(node.right).startswith("self.")
        if not (is_pointer(node.left) or counted or tiny or layer or grows(node, source)):
            yield from source.between(node.left, node.right, "+", "-")
    elif isinstance(node.op, ast.Sub):
        yield from source.between(node.left, node.right, "-", "+")


@operator("offset", ast.BinOp)
def term_dropped(node: ast.BinOp, source: SourceText) -> Made:
    """Forget what is added or taken away.

    >>> rewritten(term_dropped, "query_pos = torch.arange(n) + offset")
    ['query_pos = torch.arange(n)']
    """
    if isinstance(node.op, ast.Add | ast.Sub) and not grows(node, source):
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
    """Forget a factor or a divisor; nobody forgets the product itself that is to be scaled.

    >>> rewritten(factor_dropped, "return scores / self.scale")
    ['return scores']
    >>> rewritten(factor_dropped, "return scale * (query @ keys)")
    []
    """
    repeated = isinstance(node.left, ast.Constant | ast.List)
    if isinstance(node.op, ast.Mult | ast.Div) and not repeated and not scales(node, source):
        bulky = isinstance(node.right, ast.BinOp) and not isinstance(node.right.op, ast.Pow)
        if not bulky and not holds_product(node.right):
            yield without_right(node, source)


@operator("scale", ast.BinOp)
def factor_inverted(node: ast.BinOp, source: SourceText) -> Made:
    """Multiply where a division is meant, or the reverse.

    >>> rewritten(factor_inverted, "scores = products * scale")
    ['scores = products / scale']
    """
    if holds_product(node.right):
        return
    if isinstance(node.op, ast.Mult) and FRACTION.search(source.of(node.right)):
        yield from source.between(node.left, node.right, "*", "/")
    bounded = called(node.right) in EXTREMES
    if isinstance(node.op, ast.Div) and not isinstance(node.left, ast.Constant) and not bounded:
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


@operator("reduction", ast.Call)
def bound_dropped(node: ast.Call, source: SourceText) -> Made:
    """Forget that a number must not grow too large, or too small.

    >>> rewritten(bound_dropped, "missing = max(size - capacity, 0)")
    ['missing = size - capacity']
    >>> rewritten(bound_dropped, "entry = (token // page).clamp(max=last)")
    ['entry = (token // page)']
    """
    name = called(node)
    if name in ("clamp", "clip") and isinstance(node.func, ast.Attribute):
        dot = source.span(node.func)[1] - len(name) - 1
        yield Replacement(dot, source.span(node)[1], "")
    between = name in ("minimum", "maximum") or source.of(node.func) in ("min", "max")
    if between and len(node.args) == 2 and not node.keywords:
        part = isinstance(source.parents.get(node), ast.BinOp | ast.UnaryOp | ast.Attribute)
        for kept in node.args:
            simple = plain(kept) or isinstance(kept, ast.Call)
            if simple or not (part or isinstance(kept, ast.Constant | ast.Starred)):
                yield source.replaced(node, source.of(kept))


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


def holds_product(node: ast.expr) -> bool:
    """Whether an operand holds a product of matrices, which is what is scaled and no scale itself."""
    return any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult) for n in ast.walk(node))


def scales(node: ast.BinOp, source: SourceText) -> bool:
    """Whether a statement scales what it assigns to: `state = decay * state`."""
    statement = source.statement_of(node)
    if not isinstance(statement, ast.Assign) or statement.value is not node:
        return False
    return source.of(node.right) in {source.of(target) for target in statement.targets}


def grows(node: ast.BinOp, source: SourceText) -> bool:
    """Whether a statement adds to what it assigns to: `total = total * decay + new`."""
    statement = source.statement_of(node)
    if not isinstance(statement, ast.Assign) or statement.value is not node:
        return False
    targets = {source.of(target) for target in statement.targets}
    return any(plain(n) and source.of(n) in targets for n in ast.walk(node.left))


def is_pointer(node: ast.expr) -> bool:
    """Whether a sum begins with the pointer of a kernel, spelt `K` or `PageTable`: nobody subtracts from one."""
    while isinstance(node, ast.BinOp):
        node = node.left
    if not isinstance(node, ast.Name):
        return False
    return node.id in ("Q", "K", "V", "O") or (node.id[:1].isupper() and len(node.id) > 1)
