"""Bugs that nobody wrote: mistakes made on a reference's syntax tree, each judged by all cases before it is kept."""
