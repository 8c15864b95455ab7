"""The index of torch.fft."""

from jtorch._creation import fftfreq as fftfreq
from jtorch._creation import rfftfreq as rfftfreq
from jtorch.ops.fourier import fft_fft as fft
from jtorch.ops.fourier import fft_fft2 as fft2
from jtorch.ops.fourier import fft_fftn as fftn
from jtorch.ops.fourier import fft_fftshift as fftshift
from jtorch.ops.fourier import fft_hfft as hfft
from jtorch.ops.fourier import fft_hfft2 as hfft2
from jtorch.ops.fourier import fft_hfftn as hfftn
from jtorch.ops.fourier import fft_ifft as ifft
from jtorch.ops.fourier import fft_ifft2 as ifft2
from jtorch.ops.fourier import fft_ifftn as ifftn
from jtorch.ops.fourier import fft_ifftshift as ifftshift
from jtorch.ops.fourier import fft_ihfft as ihfft
from jtorch.ops.fourier import fft_ihfft2 as ihfft2
from jtorch.ops.fourier import fft_ihfftn as ihfftn
from jtorch.ops.fourier import fft_irfft as irfft
from jtorch.ops.fourier import fft_irfft2 as irfft2
from jtorch.ops.fourier import fft_irfftn as irfftn
from jtorch.ops.fourier import fft_rfft as rfft
from jtorch.ops.fourier import fft_rfft2 as rfft2
from jtorch.ops.fourier import fft_rfftn as rfftn
