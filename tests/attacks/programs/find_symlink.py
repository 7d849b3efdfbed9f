"""2b-17: Reaches a secret through a link and through dots."""

import os

attempt("make a link", lambda: os.symlink("/etc/passwd", "/tmp/kvdojo-escaped"))
attempt("make a hard link", lambda: os.link("/etc/passwd", "/tmp/kvdojo-escaped"))
attempt("walk up", lambda: open("/usr/lib/../../etc/passwd"))
attempt("open by a descriptor", lambda: open("/proc/self/root/etc/passwd"))
