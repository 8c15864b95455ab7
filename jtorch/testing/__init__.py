"""The index of torch.testing."""

from jtorch.testing.comparing import assert_close as assert_close
