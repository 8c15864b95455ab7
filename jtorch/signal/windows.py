"""The index of torch.signal.windows."""

from jtorch._tapers import bartlett as bartlett
from jtorch._tapers import blackman as blackman
from jtorch._tapers import cosine as cosine
from jtorch._tapers import exponential as exponential
from jtorch._tapers import gaussian as gaussian
from jtorch._tapers import general_cosine as general_cosine
from jtorch._tapers import general_hamming as general_hamming
from jtorch._tapers import hamming as hamming
from jtorch._tapers import hann as hann
from jtorch._tapers import kaiser as kaiser
from jtorch._tapers import nuttall as nuttall
