"""A driver on its way into a worker: compiled once here, since compiling costs more than most cases.

Only trusted text goes this way; what comes back from a worker is never unmarshalled.
"""

from __future__ import annotations

import marshal
from functools import lru_cache
from types import CodeType

NAME = "driver.py"


@lru_cache(maxsize=8)
def pack(driver: bytes) -> bytes:
    """Return the frame of a driver: its code or, where it is not valid Python, its text for the worker to refuse."""
    try:
        return marshal.dumps(_compiled(driver.decode()))
    except (SyntaxError, ValueError):
        return marshal.dumps(driver)


def unpack(frame: bytes) -> CodeType:
    """Return the code of a driver, in the worker; raises SyntaxError or ValueError for one that is not valid Python."""
    made = marshal.loads(frame)
    return made if isinstance(made, CodeType) else _compiled(made.decode())


def _compiled(text: str) -> CodeType:
    return compile(text, NAME, "exec", dont_inherit=True)
