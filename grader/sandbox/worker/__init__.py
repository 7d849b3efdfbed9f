"""What runs inside a worker, beside a learner's code: nothing that it says is evidence of anything."""
