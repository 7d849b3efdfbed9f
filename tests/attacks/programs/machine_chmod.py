"""2f-72: Changes modes, owners and names of files."""

import os

for path in (*ROOTS, "/tmp", torch.__file__):
    attempt("chmod", lambda path=path: os.chmod(path, 0o777))
    attempt("chown", lambda path=path: os.chown(path, os.getuid(), os.getgid()))
    attempt("rename", lambda path=path: os.rename(path, path + ".kvdojo-escaped"))
    attempt("remove", lambda path=path: os.remove(path + "/kvdojo-escaped"))
    attempt("touch", lambda path=path: os.utime(path))
