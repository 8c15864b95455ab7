"""What torch keeps in `nn.modules.pixelshuffle`. Each is defined where its line says."""

from jtorch.nn.shuffling import PixelShuffle as PixelShuffle
from jtorch.nn.shuffling import PixelUnshuffle as PixelUnshuffle
