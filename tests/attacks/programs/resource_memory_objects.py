"""2e-56: Python objects, until there is no memory."""

hold = []
while True:
    hold.append(bytearray(1 << 26))
