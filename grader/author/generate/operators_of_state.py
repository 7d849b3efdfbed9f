"""Operators on what is kept from call to call, on copies, and on kernels."""

from __future__ import annotations

import ast

from grader.author.generate.operator_table import (
    Made,
    called,
    line_gone,
    operator,
    plain,
    rewritten,  # noqa: F401  the examples use it
    swapped,
    whole,
)
from grader.author.generate.source_text import Replacement, SourceText


@operator("state", ast.Expr)
def effect_dropped(node: ast.Expr, source: SourceText) -> Made:
    """Forget a call that is made for its effect.

    >>> rewritten(effect_dropped, "for layer in layers:\\n    layer.reset()\\n    count += 1\\n")
    ['for layer in layers:\\n    count += 1\\n']
    """
    if isinstance(node.value, ast.Call) and called(node.value) not in ("__init__", "print"):
        yield from line_gone(node, source)


@operator("state", ast.Assign, ast.AugAssign)
def store_dropped(node: ast.Assign | ast.AugAssign, source: SourceText) -> Made:
    """Forget to keep a value.

    >>> rewritten(store_dropped, "def f(self, n):\\n    self.size = n\\n    return n\\n")
    ['def f(self, n):\\n    return n\\n']
    """
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if isinstance(target, ast.Attribute | ast.Subscript):
        function = source.function_of(node)
        if function is not None and function.name != "__init__":
            yield from line_gone(node, source)


@operator("state", ast.Assign)
def update_dropped(node: ast.Assign, source: SourceText) -> Made:
    """Forget a step that replaces a local value by a better one.

    >>> rewritten(update_dropped, "def f(x):\\n    x = clip(x)\\n    return x\\n")
    ['def f(x):\\n    return x\\n']
    """
    target = node.targets[0]
    if isinstance(target, ast.Name) and target.id in source.names_at(node):
        used = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
        if target.id in used:
            yield from line_gone(node, source)


@operator("state", ast.AugAssign)
def increment_replaces(node: ast.AugAssign, source: SourceText) -> Made:
    """Set where the sum is meant.

    >>> rewritten(increment_replaces, "self.size += added")
    ['self.size = added']
    """
    if isinstance(node.op, ast.Add | ast.Sub):
        gap = source.text[source.span(node.target)[1] : source.span(node.value)[0]]
        at = source.span(node.target)[1] + gap.index("=") - 1
        yield Replacement(at, at + 2, "=")


@operator("state", ast.Assign, ast.AugAssign, ast.Expr)
def done_in_other_order(node: ast.stmt, source: SourceText) -> Made:
    """Do the second step first: the two touch the same thing.

    >>> rewritten(done_in_other_order, "def f(c):\\n    n = c.size\\n    c.grow(4)\\n    return n\\n")
    ['def f(c):\\n    c.grow(4)\\n    n = c.size\\n    return n\\n']
    """
    follower = _next(node, source)
    if not isinstance(follower, ast.Assign | ast.AugAssign | ast.Expr):
        return
    function = source.function_of(node)
    if function is None or function.name == "__init__" or not (_acts(node) or _acts(follower)):
        return
    bound = {
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    needed = {n.id for n in ast.walk(follower) if isinstance(n, ast.Name)}
    shared = _owners(node) & _owners(follower)
    lines = (node.lineno, node.end_lineno, follower.lineno, follower.end_lineno)
    if not bound & needed and shared and lines == (lines[0], lines[0], lines[0] + 1, lines[0] + 1):
        yield swapped(node, follower, source)


@operator("alias", ast.Call)
def copy_dropped(node: ast.Call, source: SourceText) -> Made:
    """Hand out the thing itself, not a copy.

    >>> rewritten(copy_dropped, "return self._slots[slot].clone()")
    ['return self._slots[slot]']
    """
    if called(node) not in ("clone", "copy", "contiguous", "detach") or node.args:
        return
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield Replacement(source.span(node.func.value)[1], source.span(node)[1], "")


@operator("alias", ast.Call)
def list_not_copied(node: ast.Call, source: SourceText) -> Made:
    """Keep the caller's own list or dictionary.

    >>> rewritten(list_not_copied, "self.messages = list(messages)")
    ['self.messages = messages']
    """
    one = len(node.args) == 1 and not node.keywords and plain(node.args[0])
    if one and source.of(node.func) in ("list", "dict", "set", "copy.copy", "copy.deepcopy"):
        yield source.replaced(node, source.of(node.args[0]))


@operator("alias", ast.Call)
def written_in_place(node: ast.Call, source: SourceText) -> Made:
    """Write into the tensor that came in.

    >>> rewritten(written_in_place, "return buffer.scatter(2, index, new)")
    ['return buffer.scatter_(2, index, new)']
    """
    names = ("scatter", "masked_fill", "index_copy", "clamp", "index_fill", "add")
    method = isinstance(node.func, ast.Attribute) and plain(node.func.value)
    if method and called(node) in names:
        end = source.span(node.func)[1]
        yield Replacement(end, end, "_")


@operator("alias", ast.Call)
def result_thrown_away(node: ast.Call, source: SourceText) -> Made:
    """Make a new tensor where the old one should change.

    >>> rewritten(result_thrown_away, "self.positions.add_(count)")
    ['self.positions.add(count)']
    """
    name = called(node)
    if name.endswith("_") and not name.startswith("_") and isinstance(node.func, ast.Attribute):
        end = source.span(node.func)[1]
        yield Replacement(end - 1, end, "")


@operator("cache", ast.Subscript)
def first_row_for_all(node: ast.Subscript, source: SourceText) -> Made:
    """Take the first row's entry for every row.

    >>> rewritten(first_row_for_all, "for row in rows:\\n    n = lens[row]")
    ['for row in rows:\\n    n = lens[0]']
    """
    if isinstance(node.slice, ast.Name) and isinstance(node.ctx, ast.Load):
        name, above = node.slice.id, source.parents.get(node)
        while above is not None and not isinstance(above, ast.For):
            above = source.parents.get(above)
        if above is not None and name in {
            n.id for n in ast.walk(above.target) if isinstance(n, ast.Name)
        }:
            yield source.replaced(node.slice, "0")


@operator("cache", ast.BinOp)
def wrapped_or_held(node: ast.BinOp, source: SourceText) -> Made:
    """Stay at the last slot where the numbering should begin anew.

    >>> rewritten(wrapped_or_held, "slot = position % capacity")
    ['slot = min(position, capacity - 1)']
    """
    if isinstance(node.op, ast.Mod) and plain(node.left) and plain(node.right):
        left, right = source.of(node.left), source.of(node.right)
        yield source.replaced(node, f"min({left}, {right} - 1)")


@operator("grouped heads", ast.BinOp)
def heads_dealt_in_turn(node: ast.BinOp, source: SourceText) -> Made:
    """Deal query heads out in turn where neighbours share a key/value head.

    >>> rewritten(heads_dealt_in_turn, "def f(head, group, kv_heads):\\n    return head // group")
    ['def f(head, group, kv_heads):\\n    return head % kv_heads']
    """
    if not isinstance(node.op, ast.FloorDiv) or not isinstance(node.right, ast.Name):
        return
    if "group" in node.right.id.lower() and "kv_heads" in source.names_at(node):
        yield Replacement(source.span(node.left)[1], source.span(node)[1], " % kv_heads")


@operator("kernels", ast.Call)
def load_unmasked(node: ast.Call, source: SourceText) -> Made:
    """Load the lanes behind the end as well.

    >>> rewritten(load_unmasked, "x = tl.load(X + at, mask=at < n, other=0.0)")
    ['x = tl.load(X + at)']
    """
    if called(node) == "load" and {"mask"} <= {k.arg for k in node.keywords} and node.args:
        yield Replacement(source.span(node.args[-1])[1], source.span(node)[1] - 1, "")


@operator("kernels", ast.keyword)
def other_fill(node: ast.keyword, source: SourceText) -> Made:
    """Fill the lanes behind the end with a number that counts.

    >>> rewritten(other_fill, 's = tl.load(S + at, mask=m, other=float("-inf"))')
    ['s = tl.load(S + at, mask=m, other=0.0)']
    """
    if node.arg == "other":
        if source.of(node.value) == 'float("-inf")':
            yield source.replaced(node.value, "0.0")
        elif source.of(node.value) in ("0", "0.0"):
            yield source.replaced(node.value, source.of(node.value).replace("0", "1", 1))


@operator("kernels", ast.Call)
def last_tile_lost(node: ast.Call, source: SourceText) -> Made:
    """Count the whole tiles only.

    >>> rewritten(last_tile_lost, "tiles = tl.cdiv(length, TILE)")
    ['tiles = length // TILE']
    """
    if called(node) == "cdiv" and len(node.args) == 2 and all(plain(a) for a in node.args):
        yield source.replaced(node, f"{source.of(node.args[0])} // {source.of(node.args[1])}")


@operator("kernels", ast.Call)
def other_program_axis(node: ast.Call, source: SourceText) -> Made:
    """Read the program's number along another axis of the grid.

    >>> rewritten(other_program_axis, "batch = tl.program_id(0)")
    ['batch = tl.program_id(1)']
    """
    if called(node) in ("program_id", "num_programs") and node.args:
        axis = whole(node.args[0])
        if axis is not None:
            yield source.replaced(node.args[0], str({0: 1, 1: 0, 2: 1}[axis]))


@operator("rotation", ast.Assign)
def halves_swapped(node: ast.Assign, source: SourceText) -> Made:
    """Turn the two halves of a vector against each other's sense.

    >>> rewritten(halves_swapped, "left, right = x.chunk(2, dim=-1)")
    ['right, left = x.chunk(2, dim=-1)']
    """
    target = node.targets[0]
    if not isinstance(target, ast.Tuple) or len(target.elts) != 2:
        return
    if called(node.value) in ("chunk", "split", "unbind"):
        yield swapped(target.elts[0], target.elts[1], source)


def _next(node: ast.stmt, source: SourceText) -> ast.stmt | None:
    parent = source.parents.get(node)
    for name in ("body", "orelse"):
        block = getattr(parent, name, None)
        if isinstance(block, list) and node in block[:-1]:
            following: ast.stmt = block[block.index(node) + 1]
            return following
    return None


def _owners(node: ast.AST) -> set[str]:
    """Return the objects whose attributes or items a statement touches, as text such as `self.pool`."""
    found = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Attribute | ast.Subscript):
            base = child.value
            if isinstance(base, ast.Name) and base.id not in ("torch", "self", "math", "tl", "F"):
                found.add(base.id)
            elif (
                isinstance(child, ast.Attribute)
                and isinstance(base, ast.Name)
                and base.id == "self"
            ):
                found.add(f"self.{child.attr}")
    return found


def _acts(node: ast.stmt) -> bool:
    """Whether a statement changes an object: it stores into one, or calls something for its effect."""
    if isinstance(node, ast.Expr):
        return True
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return isinstance(target, ast.Attribute | ast.Subscript)


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("copy", "torch", "math")
