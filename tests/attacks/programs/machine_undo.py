"""2f-73: Tries to undo its confinement."""

import resource

attempt("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)))
attempt("raise memory", lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)))
attempt_call("unshare", 272, 0x10000000)
attempt_call("seccomp", 317, 0, 0, 0)
attempt_call("prctl PR_SET_DUMPABLE", 157, 4, 1, 0, 0, 0)
attempt_call("prctl PR_SET_PDEATHSIG", 157, 1, 0, 0, 0, 0)
attempt_call("setns", 308, 3, 0)
attempt_call("capset", 126, 0, 0)
attempt_call("chroot", 161, 0)
attempt_call("mount", 165, 0, 0, 0, 0, 0)
attempt_call("setuid", 105, 0)
