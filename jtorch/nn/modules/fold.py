"""What torch keeps in `nn.modules.fold`. Each is defined where its line says."""

from jtorch.nn.folding import Fold as Fold
from jtorch.nn.folding import Unfold as Unfold
