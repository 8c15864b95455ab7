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


def perceptron(nn: Any, F: Any, width: int, depth: int) -> Any:
    """Layers of one width, as many as asked for, and one that names the class.

    Shape: (N, width) -> (N, 10)
    """

    class Perceptron(nn.Module):
        def __init__(self):
            super().__init__()
            layers = []
            for _ in range(depth):
                layers += [nn.Linear(width, width), nn.ReLU()]
            self.body = nn.Sequential(*layers)
            self.fc = nn.Linear(width, 10)

        def forward(self, x):
            return self.fc(self.body(x))

    return Perceptron()


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


def _norm_relu6(nn: Any, channels: int) -> list:
    return [nn.BatchNorm2d(channels), nn.ReLU6()]


MOBILE_STAGES = ((16, 1), (24, 2), (32, 2), (64, 1), (96, 1))
"""Channels and first stride of each stage; every stage has two blocks."""


def _inverted(nn: Any) -> type:
    """The inverted residual block: widen by a 1x1 convolution, a depthwise 3x3 one, narrow again."""

    class Inverted(nn.Module):
        def __init__(self, before, channels, stride, widen=4):
            super().__init__()
            inner = before * widen
            self.body = nn.Sequential(
                nn.Conv2d(before, inner, 1, bias=False), *_norm_relu6(nn, inner),
                nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=inner, bias=False), *_norm_relu6(nn, inner),
                nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels),
            )  # fmt: skip
            self.same = stride == 1 and before == channels

        def forward(self, x):
            y = self.body(x)
            return x + y if self.same else y

    return Inverted


def mobilenet(nn: Any, F: Any) -> Any:
    """A network of depthwise convolutions like MobileNetV2, for images of 32x32.

    Shape: (N, 3, 32, 32) -> (N, 10)
    Source: Sandler et al., arXiv 1801.04381 (2018).
    """
    inverted = _inverted(nn)

    class MobileNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), *_norm_relu6(nn, 16))
            blocks, before = [], 16
            for channels, stride in MOBILE_STAGES:
                blocks += [inverted(before, channels, stride), inverted(channels, channels, 1)]
                before = channels
            self.blocks = nn.Sequential(*blocks)
            self.fc = nn.Linear(before, 10)

        def forward(self, x):
            return self.fc(self.blocks(self.stem(x)).mean((2, 3)))

    return MobileNet()


NEXT_STAGES = ((64, 1), (128, 2), (256, 2))
"""Channels and first stride of each stage; every stage has two blocks."""
NEXT_GROUPS = 8


def _aggregated(nn: Any, F: Any) -> type:
    """The bottleneck block with a grouped 3x3 convolution."""

    class Aggregated(nn.Module):
        def __init__(self, before, channels, stride):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(before, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
                nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=NEXT_GROUPS, bias=False),
                nn.BatchNorm2d(channels), nn.ReLU(),
                nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels),
            )  # fmt: skip
            self.shortcut = nn.Identity()
            if stride != 1 or before != channels:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(before, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
                )

        def forward(self, x):
            return F.relu(self.body(x) + self.shortcut(x))

    return Aggregated


def resnext(nn: Any, F: Any) -> Any:
    """A network of grouped convolutions like ResNeXt, for images of 32x32.

    Shape: (N, 3, 32, 32) -> (N, 10)
    Source: Xie et al., arXiv 1611.05431 (2016).
    """
    aggregated = _aggregated(nn, F)

    class ResNeXt(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
            blocks, before = [], 64
            for channels, stride in NEXT_STAGES:
                blocks += [aggregated(before, channels, stride), aggregated(channels, channels, 1)]
                before = channels
            self.blocks = nn.Sequential(*blocks)
            self.fc = nn.Linear(before, 10)

        def forward(self, x):
            return self.fc(self.blocks(self.stem(x)).mean((2, 3)))

    return ResNeXt()


LSTM_LAYERS, TOKENS = 2, 512


def lstm(nn: Any, F: Any) -> Any:
    """A language model: an embedding, a stacked LSTM, and a layer that names the next token.

    Shape: (N, T) of tokens -> (N * T, 512)
    """

    class LanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(TOKENS, 128)
            self.lstm = nn.LSTM(128, 256, LSTM_LAYERS, batch_first=True)
            self.fc = nn.Linear(256, TOKENS)

        def forward(self, x):
            return self.fc(self.lstm(self.embedding(x))[0]).flatten(0, 1)

    return LanguageModel()


WIDTH, HEADS, DEPTH = 128, 4, 4


def _transformer_block(nn: Any, F: Any, causal: bool) -> type:
    """The transformer block that normalizes first."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            n, t, _ = x.shape
            q, k, v = self.qkv(self.ln1(x)).view(n, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + self.out(y.transpose(1, 2).reshape(n, t, WIDTH))
            return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))

    return Block


def gpt(nn: Any, F: Any) -> Any:
    """A transformer that names the next token, like GPT-2.

    Shape: (N, T) of tokens, T <= 128 -> (N * T, 512)
    """
    block = _transformer_block(nn, F, causal=True)

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(TOKENS, WIDTH), nn.Embedding(128, WIDTH)
            self.blocks = nn.ModuleList([block() for _ in range(DEPTH)])
            self.ln = nn.LayerNorm(WIDTH)
            self.fc = nn.Linear(WIDTH, TOKENS)

        def forward(self, x):
            x = self.tokens(x) + self.places.weight[: x.shape[1]]
            for block in self.blocks:
                x = block(x)
            return self.fc(self.ln(x)).flatten(0, 1)

    return GPT()


PATCH = 4


def vit(nn: Any, F: Any) -> Any:
    """A transformer on the patches of an image of 32x32.

    Shape: (N, 3, 32, 32) -> (N, 10)
    Source: Dosovitskiy et al., arXiv 2010.11929 (2020).
    """
    block = _transformer_block(nn, F, causal=False)

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
            self.places = nn.Embedding((32 // PATCH) ** 2, WIDTH)
            self.blocks = nn.ModuleList([block() for _ in range(DEPTH)])
            self.ln = nn.LayerNorm(WIDTH)
            self.fc = nn.Linear(WIDTH, 10)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2) + self.places.weight
            for block in self.blocks:
                x = block(x)
            return self.fc(self.ln(x).mean(1))

    return ViT()
