"""The warm process: it imports torch once, warms it up and forks a worker for every session."""
