"""What torch keeps in `nn.modules.channelshuffle`. Each is defined where its line says."""

from jtorch.nn.shuffling import ChannelShuffle as ChannelShuffle
