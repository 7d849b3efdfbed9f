"""Tools for authors: record goldens, measure what each case is worth, and the gate that content must pass."""
