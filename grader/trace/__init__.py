"""Where a submission and the reference first part: recorded at named points, compared, put into words.

`trace_case` runs one case of both; `model` says what comes back.
"""

from grader.trace.model import Divergence, Grid, Pair, Place, Point, Step, Trace, to_json
from grader.trace.trace import trace_case

__all__ = ["Divergence", "Grid", "Pair", "Place", "Point", "Step", "Trace", "to_json", "trace_case"]
