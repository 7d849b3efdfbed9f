"""2d-52: Puts the request pipe in the place of the answer pipe."""

import os

os.dup2(3, 4)
