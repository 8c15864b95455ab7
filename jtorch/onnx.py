"""ONNX, which is not written: what models ask while they run."""

from typing import Any, NoReturn


def is_in_onnx_export() -> bool:
    """False."""
    return False


def export(model: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """ONNX files are not written.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("onnx.export(): expected nothing, got a model; ONNX files are not written")
