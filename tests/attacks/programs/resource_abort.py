"""2e-65: Aborts."""

import os

os.abort()
