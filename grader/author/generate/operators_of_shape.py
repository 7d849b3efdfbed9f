"""Operators on axes, and on the order of things."""

from __future__ import annotations

import ast

from grader.author.generate.operator_table import (
    Made,
    called,
    operator,
    plain,
    rewritten,  # noqa: F401  the examples use it
    swapped,
    whole,
)
from grader.author.generate.source_text import Replacement, SourceText

NEXT_AXIS = {-1: (-2,), -2: (-1,), -3: (-2,), 0: (1,), 1: (0, 2), 2: (1, 3), 3: (2,)}
REDUCTIONS = ("softmax", "sum", "mean", "amax", "amin", "argmax", "cumsum", "max", "min")
RESHAPES = ("view", "reshape", "expand", "new_zeros", "new_empty", "unflatten")
ORDERLESS = ("isinstance", "transpose", "zip", "max", "min", "maximum", "minimum", *RESHAPES)


@operator("axis", ast.Call)
def dim_of_call(node: ast.Call, source: SourceText) -> Made:
    """Reduce, join or normalise along a neighbouring axis.

    >>> rewritten(dim_of_call, "torch.softmax(scores, dim=-1)")
    ['torch.softmax(scores, dim=-2)']
    """
    for keyword in node.keywords:
        if keyword.arg in ("dim", "axis"):
            for axis in NEXT_AXIS.get(whole(keyword.value) or 0, ()):
                if whole(keyword.value) is not None:
                    yield source.replaced(keyword.value, str(axis))


@operator("axis", ast.Call)
def axis_of_method(node: ast.Call, source: SourceText) -> Made:
    """The same where the axis has no name.

    >>> rewritten(axis_of_method, "weights = scores.softmax(-1)")
    ['weights = scores.softmax(-2)']
    """
    if called(node) in REDUCTIONS and isinstance(node.func, ast.Attribute) and node.args:
        axis = whole(node.args[0])
        if axis is not None and isinstance(node.args[0], ast.UnaryOp):
            for other in NEXT_AXIS.get(axis, ()):
                yield source.replaced(node.args[0], str(other))


@operator("order", ast.Subscript)
def other_end(node: ast.Subscript, source: SourceText) -> Made:
    """Take the first of several where the last is meant, or the reverse.

    >>> rewritten(other_end, "newest = history[-1]")
    ['newest = history[0]']
    """
    shape = isinstance(node.value, ast.Attribute) and node.value.attr in ("shape", "stride")
    if isinstance(node.ctx, ast.Load) and not shape and whole(node.slice) in (0, -1):
        yield source.replaced(node.slice, "0" if whole(node.slice) else "-1")


@operator("axis", ast.Subscript)
def size_of_other_axis(node: ast.Subscript, source: SourceText) -> Made:
    """Ask for the size of a neighbouring axis.

    >>> rewritten(size_of_other_axis, "tokens = x.shape[1]")
    ['tokens = x.shape[0]', 'tokens = x.shape[2]']
    """
    shape = isinstance(node.value, ast.Attribute) and node.value.attr == "shape"
    axis = whole(node.slice)
    if shape and axis is not None:
        for other in NEXT_AXIS.get(axis, ()):
            yield source.replaced(node.slice, str(other))


@operator("axis", ast.Subscript)
def new_axis_elsewhere(node: ast.Subscript, source: SourceText) -> Made:
    """Add the new axis on the other side.

    >>> rewritten(new_axis_elsewhere, "positions[None, :] < lens[:, None]")
    ['positions[:, None] < lens[:, None]', 'positions[None, :] < lens[None, :]']
    """
    if isinstance(node.slice, ast.Tuple):
        texts = [source.of(part) for part in node.slice.elts]
        for i in range(len(texts) - 1):
            if {texts[i], texts[i + 1]} == {"None", ":"}:
                yield swapped(node.slice.elts[i], node.slice.elts[i + 1], source)


@operator("axis", ast.Call)
def transpose_dropped(node: ast.Call, source: SourceText) -> Made:
    """Leave out a transposition.

    >>> rewritten(transpose_dropped, "x.transpose(1, 2).reshape(B, S, -1)")
    ['x.reshape(B, S, -1)']
    """
    if called(node) in ("transpose", "permute", "movedim") and isinstance(node.func, ast.Attribute):
        yield Replacement(source.span(node.func.value)[1], source.span(node)[1], "")


@operator("axis", ast.Call)
def other_axes_transposed(node: ast.Call, source: SourceText) -> Made:
    """Swap another pair of axes.

    >>> rewritten(other_axes_transposed, "x.transpose(1, 2)")
    ['x.transpose(1, 3)', 'x.transpose(0, 2)']
    """
    if called(node) == "transpose" and len(node.args) == 2:
        axes = [whole(node.args[0]), whole(node.args[1])]
        if axes == [1, 2]:
            yield source.replaced(node.args[1], "3")
            yield source.replaced(node.args[0], "0")


@operator("axis", ast.Call)
def sizes_swapped(node: ast.Call, source: SourceText) -> Made:
    """Cut a tensor into neighbouring axes in the wrong order.

    >>> rewritten(sizes_swapped, "x.view(B, S, heads, -1)")
    ['x.view(S, B, heads, -1)', 'x.view(B, heads, S, -1)']
    """
    if called(node) in RESHAPES and not any(isinstance(a, ast.Starred) for a in node.args):
        for left, right in zip(node.args, node.args[1:], strict=False):
            if plain(left) and plain(right) and source.of(left) != source.of(right):
                yield swapped(left, right, source)


@operator("axis", ast.Call)
def axis_added_elsewhere(node: ast.Call, source: SourceText) -> Made:
    """Add or take away another axis.

    >>> rewritten(axis_added_elsewhere, "mask.unsqueeze(1)")
    ['mask.unsqueeze(0)', 'mask.unsqueeze(2)']
    """
    if called(node) in ("unsqueeze", "squeeze", "unbind") and node.args:
        for axis in NEXT_AXIS.get(whole(node.args[0]) or 0, ()):
            if whole(node.args[0]) is not None:
                yield source.replaced(node.args[0], str(axis))


@operator("axis", ast.Call)
def kernel_reduces_other_axis(node: ast.Call, source: SourceText) -> Made:
    """Reduce a tile of a kernel along its other axis.

    >>> rewritten(kernel_reduces_other_axis, "top = tl.max(scores, 1)")
    ['top = tl.max(scores, 0)']
    """
    axis = whole(node.args[1]) if len(node.args) == 2 else None
    if source.of(node.func) in ("tl.max", "tl.sum", "tl.min") and axis in (0, 1):
        yield source.replaced(node.args[1], str(1 - axis))


@operator("order", ast.Call)
def arguments_swapped(node: ast.Call, source: SourceText) -> Made:
    """Hand two neighbouring arguments over in the wrong order.

    >>> rewritten(arguments_swapped, "self._mask(scores, seq_len, cache_len)")
    ['self._mask(seq_len, scores, cache_len)', 'self._mask(scores, cache_len, seq_len)']
    """
    if called(node) in ORDERLESS:
        return
    for left, right in zip(node.args, node.args[1:], strict=False):
        if plain(left) and plain(right) and source.of(left) != source.of(right):
            yield swapped(left, right, source)


@operator("order", ast.List)
def pieces_swapped(node: ast.List, source: SourceText) -> Made:
    """Join two pieces in the wrong order.

    >>> rewritten(pieces_swapped, "torch.cat([past, new], dim=1)")
    ['torch.cat([new, past], dim=1)']
    """
    if len(node.elts) != 2 or not all(plain(e) or isinstance(e, ast.Call) for e in node.elts):
        return
    if source.of(node.elts[0]) != source.of(node.elts[1]):
        yield swapped(node.elts[0], node.elts[1], source)


@operator("order", ast.Tuple)
def pair_swapped(node: ast.Tuple, source: SourceText) -> Made:
    """Return or hand over a pair the wrong way round.

    >>> rewritten(pair_swapped, "return keys, values")
    ['return values, keys']
    """
    index = isinstance(source.parents.get(node), ast.Subscript | ast.For | ast.comprehension)
    if index or not isinstance(node.ctx, ast.Load) or len(node.elts) not in (2, 3):
        return
    for left, right in zip(node.elts, node.elts[1:], strict=False):
        if plain(left) and plain(right) and source.of(left) != source.of(right):
            yield swapped(left, right, source)


@operator("order", ast.Assign)
def unpacked_in_other_order(node: ast.Assign, source: SourceText) -> Made:
    """Take a result apart in the wrong order.

    >>> rewritten(unpacked_in_other_order, "cos, sin = table.unbind(-1)")
    ['sin, cos = table.unbind(-1)']
    """
    target = node.targets[0]
    if isinstance(target, ast.Tuple) and not isinstance(node.value, ast.Tuple):
        for left, right in zip(target.elts, target.elts[1:], strict=False):
            names = {source.of(left), source.of(right)}
            if plain(left) and plain(right) and len(names) == 2 and "_" not in names:
                yield swapped(left, right, source)


@operator("order", ast.Call)
def repeated_as_blocks(node: ast.Call, source: SourceText) -> Made:
    """Repeat whole blocks where each item should be repeated.

    >>> rewritten(repeated_as_blocks, "keys.repeat_interleave(group, dim=1)")
    ['keys.repeat(1, group, 1, 1)']
    """
    if called(node) != "repeat_interleave" or not isinstance(node.func, ast.Attribute):
        return
    axis = next((whole(k.value) for k in node.keywords if k.arg == "dim"), None)
    if axis == 1 and node.args:
        owner = source.of(node.func.value)
        yield source.replaced(node, f"{owner}.repeat(1, {source.of(node.args[0])}, 1, 1)")
