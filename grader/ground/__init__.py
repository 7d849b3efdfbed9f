"""What every other package of the grader may use; it imports none of them."""
