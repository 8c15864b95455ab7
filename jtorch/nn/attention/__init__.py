"""The index of `torch.nn.attention`: what programs say of kernels for attention. The modules are in `multihead`."""

from jtorch.nn.attention import bias as bias
from jtorch.nn.attention import flex_attention as flex_attention
from jtorch.nn.attention.backends import SDPBackend as SDPBackend
from jtorch.nn.attention.backends import sdpa_kernel as sdpa_kernel
