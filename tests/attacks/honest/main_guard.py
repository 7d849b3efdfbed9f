"""Has a demonstration under a main guard, and asks where it is."""

from pathlib import Path

HERE = Path(__file__).name

if __name__ == "__main__":
    raise SystemExit(print("a demonstration"))
