"""2f-74: Calls the kernel by an x32 number."""

attempt_call("x32 getpid", 0x40000000 + 39)
