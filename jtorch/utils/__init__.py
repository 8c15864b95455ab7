"""What surrounds a model: `utils.data`, the loading of data in batches, and `utils.checkpoint`."""

from jtorch.utils import checkpoint as checkpoint
from jtorch.utils import data as data
