"""For authors: record goldens, add cases and bugs, measure what each case is worth, and the gate for content."""
