"""Files: objects with tensors in torch's formats. Safetensors files are in `jtorch.serialization.safetensors`."""

from jtorch.serialization import safetensors as safetensors
from jtorch.serialization.files import load as load
from jtorch.serialization.files import save as save
from jtorch.serialization.pickling import add_safe_globals as add_safe_globals
from jtorch.serialization.pickling import clear_safe_globals as clear_safe_globals
from jtorch.serialization.pickling import get_safe_globals as get_safe_globals
from jtorch.serialization.pickling import safe_globals as safe_globals
