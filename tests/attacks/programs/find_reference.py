"""2b-18: Imports the reference and answers with it."""

for root in ROOTS:
    sys.path.insert(0, root)

escaped("imported the reference")
