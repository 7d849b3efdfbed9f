"""2e-63: Recurses until the stack is gone."""

sys.setrecursionlimit(1 << 30)


def deeper(n):
    return [deeper(n + 1)]


deeper(0)
