"""Figures and long runs, each with the command that makes it; nothing here is imported by the packages."""
