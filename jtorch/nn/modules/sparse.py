"""What torch keeps in `nn.modules.sparse`. Each is defined where its line says."""

from jtorch.nn.embedding import Embedding as Embedding
from jtorch.nn.embedding import EmbeddingBag as EmbeddingBag
