"""2e-67: Waits for input."""

input()
