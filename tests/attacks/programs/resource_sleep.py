"""2e-59: Sleeps, using no processor time."""

import time

time.sleep(3600)
