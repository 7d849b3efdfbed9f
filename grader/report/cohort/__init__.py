"""A class's results for people: on the terminal, as a table for spreadsheets, as one page."""
