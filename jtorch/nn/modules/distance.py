"""What torch keeps in `nn.modules.distance`. Each is defined where its line says."""

from jtorch.nn.distance import CosineSimilarity as CosineSimilarity
from jtorch.nn.distance import PairwiseDistance as PairwiseDistance
