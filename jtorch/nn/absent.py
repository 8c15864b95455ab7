"""The parts of `torch.nn` that jtorch does not have, so that whoever asks for them is told."""

import types
from typing import Any, NoReturn


class _Absent(types.ModuleType):
    """A module of which every name raises NotImplementedError."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _refuse(self.__name__, name)


def _refuse(module: str, name: str) -> NoReturn:
    raise NotImplementedError(f"{module}.{name}: quantized modules are not available; use the module of `nn` itself")


quantized = _Absent("jtorch.nn.quantized", "Not available: modules of quantized tensors.")
quantizable = _Absent("jtorch.nn.quantizable", "Not available: modules to be quantized.")
qat = _Absent("jtorch.nn.qat", "Not available: modules that learn to be quantized.")
intrinsic = _Absent("jtorch.nn.intrinsic", "Not available: modules fused to be quantized.")
