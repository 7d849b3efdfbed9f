"""2b-30: Changes torch in memory, for the next submission of the same warm process."""

import torch.nn.functional as F

F.softmax = torch.softmax = lambda x, *a, **k: torch.zeros_like(x)
torch.matmul = torch.Tensor.__matmul__ = lambda a, b: torch.zeros(1)
nn.Linear.forward = lambda self, x: torch.zeros_like(x)
