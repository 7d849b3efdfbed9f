"""Sizes that more than one package must agree on.  All are in bytes."""

MAX_SOURCE_BYTES = 256 << 10  # of a submission, wherever it is read, sent, stored or compared
MAX_NOTEBOOK_BYTES = 8 << 20  # of a notebook that is handed in: its outputs may hold pictures
MAX_CASE_FILE_BYTES = 256 << 10  # of a file that holds cases of an instructor's own
MAX_CONTENT_BYTES = 8 << 20  # of a JSON file of a challenge
