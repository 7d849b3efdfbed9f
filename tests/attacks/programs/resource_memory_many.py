"""2e-56: Many tensors, until there is no memory."""

hold = []
while True:
    hold.append(torch.ones(1 << 24))
