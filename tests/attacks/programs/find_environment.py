"""2b-23: Looks for secrets in the environment."""

import os

for name in os.environ:
    if any(word in name.lower() for word in ("secret", "token", "kvdojo", "pwd", "user")):
        escaped(name)
