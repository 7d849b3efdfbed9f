"""Tries to read a file, is refused, and carries on."""

try:
    with open("/etc/hostname") as file:
        HOST = file.read()
except OSError:
    HOST = "unknown"
