"""The models, written once as torch modules: `nn` and `F` are torch's or jtorch's.

Each function defines the class and returns a fresh model. The same models without modules are in `bare`.
"""

from typing import Any


def mlp(nn: Any, F: Any) -> Any:
    """A perceptron 784-512-256-10.

    Shape: (N, 784) -> (N, 10)
    """

    class MLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(784, 512)
            self.fc2 = nn.Linear(512, 256)
            self.fc3 = nn.Linear(256, 10)

        def forward(self, x):
            x = F.relu(self.fc1(x))
            x = F.relu(self.fc2(x))
            return self.fc3(x)

    return MLP()


def lenet(nn: Any, F: Any) -> Any:
    """LeNet-5 with ReLU and max pooling.

    Shape: (N, 1, 28, 28) -> (N, 10)
    """

    class LeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(16 * 5 * 5, 120)
            self.fc2 = nn.Linear(120, 84)
            self.fc3 = nn.Linear(84, 10)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            x = x.flatten(1)
            x = F.relu(self.fc1(x))
            x = F.relu(self.fc2(x))
            return self.fc3(x)

    return LeNet()


RESNET_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and first stride of each stage; every stage has two blocks."""


def _block(nn: Any, F: Any) -> type:
    """The residual block of two 3x3 convolutions."""

    class Block(nn.Module):
        def __init__(self, before, channels, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.shortcut = nn.Identity()
            if stride != 1 or before != channels:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(before, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
                )

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            return F.relu(y + self.shortcut(x))

    return Block


def resnet18(nn: Any, F: Any) -> Any:
    """ResNet-18 in its form for images of 32x32: a 3x3 stem without pooling.

    Shape: (N, 3, 32, 32) -> (N, 10)
    Source: He et al., arXiv 1512.03385 (2015).
    """
    block = _block(nn, F)

    class ResNet18(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
            blocks, before = [], 64
            for channels, stride in RESNET_STAGES:
                blocks += [block(before, channels, stride), block(channels, channels, 1)]
                before = channels
            self.blocks = nn.Sequential(*blocks)
            self.fc = nn.Linear(512, 10)

        def forward(self, x):
            x = self.blocks(self.stem(x))
            return self.fc(x.mean((2, 3)))

    return ResNet18()
