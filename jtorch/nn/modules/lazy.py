"""What torch keeps in `nn.modules.lazy`. Each is defined where its line says."""

from jtorch.nn.lazy import LazyModuleMixin as LazyModuleMixin
