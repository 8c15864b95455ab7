"""What torch keeps in `nn.modules.rnn`. Each is defined where its line says."""

from jtorch.nn.cells import GRUCell as GRUCell
from jtorch.nn.cells import LSTMCell as LSTMCell
from jtorch.nn.cells import RNNCell as RNNCell
from jtorch.nn.cells import RNNCellBase as RNNCellBase
from jtorch.nn.rnn import GRU as GRU
from jtorch.nn.rnn import LSTM as LSTM
from jtorch.nn.rnn import RNN as RNN
from jtorch.nn.rnn import RNNBase as RNNBase
