"""What torch keeps in `torch.nn.utils`: tools for parameters and gradients, and for sequences of unequal lengths."""

from jtorch.nn.utils import rnn as rnn
