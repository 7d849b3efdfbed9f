"""2f-76: Runs its own machine code: socket(AF_INET, SOCK_STREAM, 0)."""

import ctypes
import mmap

code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("b829000000bf02000000be0100000031d20f05c3"))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
if ctypes.CFUNCTYPE(ctypes.c_int)(address)() >= 0:
    escaped("opened a socket from machine code")
