"""Asks for sixty-four threads."""

torch.set_num_threads(64)
