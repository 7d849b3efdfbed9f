"""2f-76: Runs programs in every way Python has."""

import os

import subprocess

attempt("execv", lambda: os.execv("/bin/sh", ["sh", "-c", "touch /tmp/kvdojo-escaped"]))
attempt("posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("subprocess", lambda: subprocess.run(["/bin/true"], check=True))
if os.system("true") == 0:
    escaped("ran a shell")
attempt_call("execveat", 322, -100, 0, 0, 0, 0)
