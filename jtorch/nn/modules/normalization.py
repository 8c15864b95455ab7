"""What torch keeps in `nn.modules.normalization`. Each is defined where its line says."""

from jtorch.nn.normalization import CrossMapLRN2d as CrossMapLRN2d
from jtorch.nn.normalization import GroupNorm as GroupNorm
from jtorch.nn.normalization import LayerNorm as LayerNorm
from jtorch.nn.normalization import LocalResponseNorm as LocalResponseNorm
from jtorch.nn.normalization import RMSNorm as RMSNorm
