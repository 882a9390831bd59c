"""A layer of a user's own."""
from torch import nn


class OwnAntiAliasing(nn.Module):
    """Which nobody can look into."""

    def __init__(self, channels=None, stride=2, device=None, dtype=None):
        super().__init__()
        self.pool = nn.MaxPool2d(3, stride, 1)

    def forward(self, x):
        return self.pool(x)
