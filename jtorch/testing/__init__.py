"""The index of torch.testing, and `parity`, which compares a module with its twin of PyTorch."""

from jtorch.testing.comparing import assert_close as assert_close
from jtorch.testing.modules import Report as Report
from jtorch.testing.modules import parity as parity
