"""2c-43: Changes the default dtype of everything made later."""

torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
