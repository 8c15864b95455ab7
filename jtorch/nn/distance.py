"""Distances between vectors as modules: PairwiseDistance and CosineSimilarity."""

from jtorch.nn import functional as F
from jtorch.nn._declared import Declared, functional


class PairwiseDistance(Declared):
    """The `p`-norm of the difference of vectors, with `eps` added to it.

    Shape: (N, E) or (E), the same -> (N) or ()
    """

    p: float = 2.0
    eps: float = 1e-6
    keepdim: bool = False
    forward = functional(F.pairwise_distance)

    def extra_repr(self) -> str:
        """Nothing, as in torch."""
        return ""


class CosineSimilarity(Declared):
    """The cosine of the angle between vectors along a dimension.

    Shape: (*, E, *), the same -> (*, *)
    """

    dim: int = 1
    eps: float = 1e-8
    forward = functional(F.cosine_similarity)
