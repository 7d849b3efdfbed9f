"""The layers of isolation that a worker puts on itself, and the self-test that tries them."""
