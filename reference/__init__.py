"""The right answers: one standalone file per system."""
