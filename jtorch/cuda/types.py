"""`cuda.FloatTensor` and the like, which make tensors on the current GPU."""

from jtorch import _creation, _types

BFloat16Tensor = _creation.tensor_type("BFloat16Tensor", _types.bfloat16, "cuda")
BoolTensor = _creation.tensor_type("BoolTensor", _types.bool_, "cuda")
ByteTensor = _creation.tensor_type("ByteTensor", _types.uint8, "cuda")
CharTensor = _creation.tensor_type("CharTensor", _types.int8, "cuda")
DoubleTensor = _creation.tensor_type("DoubleTensor", _types.float64, "cuda")
FloatTensor = _creation.tensor_type("FloatTensor", _types.float32, "cuda")
HalfTensor = _creation.tensor_type("HalfTensor", _types.float16, "cuda")
IntTensor = _creation.tensor_type("IntTensor", _types.int32, "cuda")
LongTensor = _creation.tensor_type("LongTensor", _types.int64, "cuda")
ShortTensor = _creation.tensor_type("ShortTensor", _types.int16, "cuda")
