"""What torch keeps in `nn.modules.adaptive`. Each is defined where its line says."""

from jtorch.nn.classification import AdaptiveLogSoftmaxWithLoss as AdaptiveLogSoftmaxWithLoss
