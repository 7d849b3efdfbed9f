"""2e-64: Three hundred thousand unary minuses."""

eval("-" * 300_000 + "1")
