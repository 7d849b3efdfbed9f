"""2e-55: A thread bomb."""

import threading
import time

while True:
    threading.Thread(target=time.sleep, args=(60,)).start()
    escaped("started a thread")
