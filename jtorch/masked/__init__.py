"""The index of torch.masked: functions that pass over what a mask leaves out. There are no masked tensors."""

from jtorch.ops.masked import masked_amax as amax
from jtorch.ops.masked import masked_amin as amin
from jtorch.ops.masked import masked_argmax as argmax
from jtorch.ops.masked import masked_argmin as argmin
from jtorch.ops.masked import masked_cumprod as cumprod
from jtorch.ops.masked import masked_cumsum as cumsum
from jtorch.ops.masked import masked_log_softmax as log_softmax
from jtorch.ops.masked import masked_logaddexp as logaddexp
from jtorch.ops.masked import masked_logsumexp as logsumexp
from jtorch.ops.masked import masked_mean as mean
from jtorch.ops.masked import masked_median as median
from jtorch.ops.masked import masked_norm as norm
from jtorch.ops.masked import masked_normalize as normalize
from jtorch.ops.masked import masked_prod as prod
from jtorch.ops.masked import masked_softmax as softmax
from jtorch.ops.masked import masked_softmin as softmin
from jtorch.ops.masked import masked_std as std
from jtorch.ops.masked import masked_sum as sum
from jtorch.ops.masked import masked_var as var
