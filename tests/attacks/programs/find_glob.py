"""2b-16: Lists directories in search of a golden file."""

import os

for folder in (*ROOTS, "/", "/home", "/tmp", "/root", "/work", "/proc", "/etc", ".."):
    attempt("list " + folder, lambda folder=folder: os.listdir(folder))
