"""2f-79: Source text with a null byte in it."""

exec(compile("x = 1\0", "kv_attention.py", "exec"))
