"""The index of torch.signal."""

from jtorch.signal import windows as windows
