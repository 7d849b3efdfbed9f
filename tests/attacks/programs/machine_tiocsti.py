"""2f-81: Pushes keys into the terminal."""

import fcntl

for fd in range(5):
    attempt("push a key", lambda fd=fd: fcntl.ioctl(fd, 0x5412, b"x"))
    attempt("take the terminal", lambda fd=fd: fcntl.ioctl(fd, 0x540E, 0))
