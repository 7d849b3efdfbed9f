"""2e-56: Swallows the memory error and goes on."""

hold = []
while True:
    try:
        hold.append(bytearray(1 << 26))
    except MemoryError:
        continue
