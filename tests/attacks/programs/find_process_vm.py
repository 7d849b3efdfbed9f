"""2b-22: Reads the parent through process_vm_readv and ptrace."""

import os

attempt_call("process_vm_readv", 310, os.getppid(), 0, 0, 0, 0, 0)
attempt_call("ptrace", 101, 16, os.getppid(), 0, 0)
