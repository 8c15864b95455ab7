"""The index of `nn.utils`: what is done to the gradients, the weights and the sequences of modules."""

from jtorch.nn.utils.init import skip_init as skip_init
