"""What torch keeps in `nn.modules.loss`. Each is defined where its line says."""

from jtorch.nn.classification import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from jtorch.nn.loss import BCELoss as BCELoss
from jtorch.nn.loss import BCEWithLogitsLoss as BCEWithLogitsLoss
from jtorch.nn.loss import CosineEmbeddingLoss as CosineEmbeddingLoss
from jtorch.nn.loss import CrossEntropyLoss as CrossEntropyLoss
from jtorch.nn.loss import CTCLoss as CTCLoss
from jtorch.nn.loss import GaussianNLLLoss as GaussianNLLLoss
from jtorch.nn.loss import HingeEmbeddingLoss as HingeEmbeddingLoss
from jtorch.nn.loss import HuberLoss as HuberLoss
from jtorch.nn.loss import KLDivLoss as KLDivLoss
from jtorch.nn.loss import L1Loss as L1Loss
from jtorch.nn.loss import MarginRankingLoss as MarginRankingLoss
from jtorch.nn.loss import MSELoss as MSELoss
from jtorch.nn.loss import MultiLabelMarginLoss as MultiLabelMarginLoss
from jtorch.nn.loss import MultiLabelSoftMarginLoss as MultiLabelSoftMarginLoss
from jtorch.nn.loss import MultiMarginLoss as MultiMarginLoss
from jtorch.nn.loss import NLLLoss as NLLLoss
from jtorch.nn.loss import NLLLoss2d as NLLLoss2d
from jtorch.nn.loss import PoissonNLLLoss as PoissonNLLLoss
from jtorch.nn.loss import SmoothL1Loss as SmoothL1Loss
from jtorch.nn.loss import SoftMarginLoss as SoftMarginLoss
from jtorch.nn.loss import TripletMarginLoss as TripletMarginLoss
from jtorch.nn.loss import TripletMarginWithDistanceLoss as TripletMarginWithDistanceLoss
from jtorch.nn.loss import _Loss as _Loss
from jtorch.nn.loss import _WeightedLoss as _WeightedLoss
