"""2e-59: Loops for ever while being imported."""

while True:
    pass
