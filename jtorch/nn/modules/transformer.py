"""What torch keeps in `nn.modules.transformer`. Each is defined where its line says."""

from jtorch.nn.transformer import Transformer as Transformer
from jtorch.nn.transformer import TransformerDecoder as TransformerDecoder
from jtorch.nn.transformer import TransformerDecoderLayer as TransformerDecoderLayer
from jtorch.nn.transformer import TransformerEncoder as TransformerEncoder
from jtorch.nn.transformer import TransformerEncoderLayer as TransformerEncoderLayer
