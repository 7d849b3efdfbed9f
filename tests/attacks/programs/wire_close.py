"""2d-52: Closes its ends of the pipes and waits."""

import os
import time

os.close(3)
os.close(4)
time.sleep(60)
