"""Right fixes in words that are not the reference's: a statement is replaced by one that does the same.

Each kind of statement has at least five forms, so that no single way to read a file can know them all.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator

OWN = "own_words"  # a name that no reference has

# around any statements, which stand at {0}
BLOCKS = {
    "if": "if True:\n{0}\n",
    "for": "for _own in range(1):\n{0}\n",
    "try": "try:\n{0}\nfinally:\n    pass\n",
    "try-else": "try:\n    pass\nexcept ValueError:\n    raise\nelse:\n{0}\n",
    "while": "while True:\n{0}\n    break\n",
    "else": "if False:\n    pass\nelse:\n{0}\n",
}
# an expression {0} in other words
VALUES = {
    "lambda": "(lambda: {0})()",
    "tuple": "({0},)[0]",
    "dict": '{{"own": {0}}}["own"]',
    "list": "[{0}].pop()",
    "next": "next(iter([{0}]))",
    "either": "({0} if True else None)",
}
# where the fix is to take something away
NOTHING = {
    "pass": "pass\n",
    "name": f"{OWN} = None\n",
    "text": '"nothing is to be done here"\n',
    "if": "if False:\n    raise AssertionError\n",
    "for": "for _own in ():\n    pass\n",
    "assert": "assert True\n",
}


def in_own_words(statements: str) -> Iterator[tuple[str, str]]:
    """Yield a name and the text of each form of some statements, which begin at the first column.

    Empty statements stand for a fix that takes lines away.
    """
    if not statements.strip():
        yield from ((f"nothing: {name}", text) for name, text in NOTHING.items())
        return
    body = ast.parse(_callable(statements)).body
    inner = body[0].body if isinstance(body[0], ast.FunctionDef) else body
    if not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in inner):
        block = textwrap.indent(statements.rstrip("\n"), "    ")
        for name, form in BLOCKS.items():
            yield f"block: {name}", form.format(block)
    if len(inner) == 1:
        for name, made in _by_value(inner[0]):
            yield f"value: {name}", f"{made}\n"


def _callable(statements: str) -> str:
    """Return the statements so that `return` may stand among them."""
    return f"def f():\n{textwrap.indent(statements, '    ')}"


def _by_value(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield forms of one statement whose value, or condition, is found in another way."""
    match node:
        case ast.Return(value=ast.expr() as value):
            head, tail = "return ", ""
        case ast.Assign(value=value):
            head, tail = " = ".join(ast.unparse(target) for target in node.targets) + " = ", ""
        case ast.If(test=value):
            whole = ast.unparse(node)
            first = ast.unparse(value)
            head, tail = "if ", whole[len("if ") + len(first) :]
        case ast.Expr(value=ast.Call() as value):
            head, tail = "", ""
        case _:
            return
    text = ast.unparse(value)
    yield "name", f"{OWN} = {text}\n{head}{OWN}{tail}"
    yield "function", f"def {OWN}():\n    return {text}\n{head}{OWN}(){tail}"
    for name, form in VALUES.items():
        yield name, f"{head}{form.format(text)}{tail}"
