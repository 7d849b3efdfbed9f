"""2e-56: One enormous tensor."""

hold = torch.ones(1 << 36)
