"""2b-29: Leaves a note for the next submission wherever it could be read."""

import os

for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run", sys.prefix, os.path.dirname(torch.__file__)):
    attempt("write to " + folder, lambda folder=folder: open(folder + "/kvdojo-escaped", "w"))
attempt_call("shmget", 29, 7, 4096, 0o1666)
attempt_call("add_key", 248, 0, 0, 0, 0, 0)
attempt_call("memfd_create", 319, 0, 0)
attempt_call("mq_open", 240, 0, 0)
