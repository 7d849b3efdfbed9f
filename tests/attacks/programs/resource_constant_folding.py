"""2e-64: An expression the compiler would fold for ever."""

hold = eval("9" + "**9" * 6)
