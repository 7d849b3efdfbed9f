"""2e-64: A hundred thousand brackets."""

eval("(" * 100_000 + ")" * 100_000)
