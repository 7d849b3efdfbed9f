"""The arena's tasks in the terms of other programs."""
