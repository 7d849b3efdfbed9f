"""Imports much of the standard library and of torch."""

import collections
import dataclasses
import decimal
import fractions
import inspect
import itertools
import json
import statistics
import typing

import numpy as np
import torch.nn.functional as F


@dataclasses.dataclass
class Shape:
    tokens: int
    heads: typing.Optional[int] = None


assert inspect.getsource(Shape).startswith("@dataclasses")
assert np.allclose(F.softmax(torch.zeros(2), 0).numpy(), 0.5)
