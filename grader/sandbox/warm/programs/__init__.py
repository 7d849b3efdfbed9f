"""Small programs that the fork server runs at its start in the place of a submission and its driver; see `warmup`."""
