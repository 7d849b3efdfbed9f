"""2f-77: Terminal escape codes in the log and in the message."""

print("\x1b]0;owned\x07\x1b[2J\x1b[31mAll cases passed\r\u202e")
raise ValueError("\x1b[2J\x1b[32mpassed\x07")
