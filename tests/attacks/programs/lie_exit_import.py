"""2a-7: Leaves with success while being imported."""

import sys

sys.exit(0)
