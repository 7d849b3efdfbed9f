"""2b-82: Leaves whatever its folder takes for the next worker, in forms that are hard to remove."""

import os
import socket
import tempfile

HOME = os.environ["HOME"]
found = sorted(os.listdir(HOME))
if found or os.stat(HOME).st_mtime != 0:
    escaped(f"something was left: {found}")
for what, call in {
    "symlink": lambda: os.symlink("/etc/passwd", "link"),
    "hard link": lambda: os.link(torch.__file__, "kvdojo-escaped"),
    "fifo": lambda: os.mkfifo("fifo"),
    "device": lambda: os.mknod("device", 0o20666, os.makedev(1, 3)),
    "socket": lambda: socket.socket(socket.AF_UNIX).bind("socket"),
    "time": lambda: os.utime(HOME, (0, 0)),
    "rights": lambda: os.chmod(HOME, 0o777),
    "attribute": lambda: os.setxattr(HOME, "user.note", b"kvdojo"),
    "owner": lambda: os.chown(HOME, 1, 1),
    "nameless": lambda: os.open(HOME, os.O_TMPFILE | os.O_RDWR),
    "list its neighbours": lambda: os.listdir(os.path.dirname(HOME)),
    "move it": lambda: os.rename(HOME, HOME + "-kvdojo-escaped"),
    "remove it": lambda: os.rmdir(HOME),
    "cut a file off": lambda: os.open(torch.__file__, os.O_RDONLY | os.O_TRUNC),
}.items():
    attempt(what, call)
os.mkdir("closed", 0)
deep = os.open(".", os.O_RDONLY)
for _ in range(40):  # a path longer than any call takes
    os.mkdir("d" * 200, dir_fd=deep)
    deep = os.open("d" * 200, os.O_RDONLY, dir_fd=deep)
for name in ("\n", "*", "-rf", "..x", b"\xff\xfe", "x" * 255, " "):
    open(name, "wb").write(b"note")
kept = tempfile.TemporaryFile()
