"""2f-68: Signals the parent, its group and everything else."""

import os

for pid in (os.getppid(), 1, 0, -1, -os.getppid()):
    attempt(f"signal {pid}", lambda pid=pid: os.kill(pid, 0))
attempt_call("tgkill", 234, os.getppid(), os.getppid(), 0)
attempt_call("rt_sigqueueinfo", 129, os.getppid(), 0, 0)
