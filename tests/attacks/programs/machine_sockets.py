"""2f-70: Opens sockets of every family."""

import socket

for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, 40):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        attempt("open a socket", lambda family=family, kind=kind: socket.socket(family, kind))
attempt("open a pair", socket.socketpair)
