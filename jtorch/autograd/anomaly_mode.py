"""`detect_anomaly`: a backward that names the op whose gradient is the first NaN."""

import warnings

from jtorch.autograd import walking


class set_detect_anomaly:
    """Looking for NaN in gradients on or off, at once when called and until the end when used as a context manager.

    Args:
        check_nan: whether a NaN raises.
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        self.before = walking.anomaly[0]
        walking.anomaly[0] = bool(mode) and check_nan

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        walking.anomaly[0] = self.before


class detect_anomaly:
    """Inside, a backward that computes a NaN raises and names the op. In compiled code nothing is looked at.

    Args:
        check_nan: whether a NaN raises.

    Raises:
        RuntimeError: from a backward inside, at the first NaN.

    Example:
        >>> import jtorch
        >>> with jtorch.autograd.set_detect_anomaly(True):
        ...     y = jtorch.zeros(1, requires_grad=True) * 1
        ...     (y.sqrt() * 0).backward()
        Traceback (most recent call last):
        RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        self.before: list[bool] = []
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.before.append(walking.anomaly[0])
        walking.anomaly[0] = self.check_nan

    def __exit__(self, *_: object) -> None:
        walking.anomaly[0] = self.before.pop()
