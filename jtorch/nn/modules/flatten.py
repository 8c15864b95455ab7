"""What torch keeps in `nn.modules.flatten`. Each is defined where its line says."""

from jtorch.nn.linear import Flatten as Flatten
from jtorch.nn.linear import Unflatten as Unflatten
