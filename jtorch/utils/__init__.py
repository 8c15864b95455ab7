"""What surrounds a model: `utils.data`, the loading of data in batches, `utils.checkpoint`,
and what old code imports from here."""

from jtorch.utils import checkpoint as checkpoint
from jtorch.utils import data as data
from jtorch.utils import dlpack as dlpack
from jtorch.utils import hooks as hooks
from jtorch.utils import model_zoo as model_zoo
