"""Tensors of the Open Inference Protocol: typed or raw contents to arrays, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hilum.errors import Rejected
from hilum.inference.engines.port import DATATYPES, Tensor, TensorSpec
from hilum.openinference.open_inference_grpc_pb2 import ModelInferRequest, ModelInferResponse

_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


def tensors_of(request: ModelInferRequest) -> dict[str, Tensor]:
    """The input tensors by name. Raises Rejected with a code that starts with ``tensor_``."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Rejected("tensor_contents", f"{len(request.inputs)} inputs, but {len(raw)} raw contents")
    tensors: dict[str, Tensor] = {}
    for index, tensor in enumerate(request.inputs):
        if tensor.name in tensors:
            raise Rejected("tensor_name", "an input is given twice")
        if raw and tensor.HasField("contents"):
            raise Rejected("tensor_contents", "an input has both raw and typed contents")
        tensors[tensor.name] = _raw(tensor, raw[index]) if raw else _typed(tensor)
    return tensors


def fill_response(
    response: ModelInferResponse, specs: Sequence[TensorSpec], outputs: Mapping[str, Tensor], *, raw: bool
) -> None:
    """Write ``outputs`` as raw or typed contents; FP16 has no typed field and makes all of them raw."""
    datatypes = {spec.name: spec.datatype for spec in specs}
    raw = raw or any(datatypes[name] not in _FIELDS for name in outputs)
    for name, values in outputs.items():
        tensor = response.outputs.add(name=name, datatype=datatypes[name], shape=list(values.shape))
        if raw:
            response.raw_output_contents.append(_little_endian(values).tobytes())
        else:
            getattr(tensor.contents, _FIELDS[datatypes[name]]).extend(values.reshape(-1).tolist())


def _raw(tensor: ModelInferRequest.InferInputTensor, contents: bytes) -> Tensor:
    datatype, count = _declared(tensor)
    if len(contents) != count * datatype.itemsize:
        raise Rejected("tensor_contents", f"{len(contents)} bytes, but the shape needs {count * datatype.itemsize}")
    if tensor.datatype == "BOOL" and contents.translate(None, b"\x00\x01"):
        raise Rejected("tensor_value", "a BOOL is 0 or 1")
    values = np.frombuffer(contents, datatype.newbyteorder("<")).astype(datatype, copy=False)
    return values.reshape(tuple(tensor.shape))


def _typed(tensor: ModelInferRequest.InferInputTensor) -> Tensor:
    datatype, count = _declared(tensor)
    field = _FIELDS.get(tensor.datatype)
    if field is None:
        raise Rejected("tensor_contents", f"{tensor.datatype} must be given as raw contents")
    filled = {descriptor.name for descriptor, _ in tensor.contents.ListFields()}
    if filled - {field}:
        raise Rejected("tensor_contents", f"{tensor.datatype} belongs into {field}")
    values = getattr(tensor.contents, field)
    if len(values) != count:
        raise Rejected("tensor_contents", f"{len(values)} elements, but the shape needs {count}")
    wide = np.array(values)
    if count and datatype.kind in "iu":
        limits = np.iinfo(datatype)
        if int(wide.min()) < limits.min or int(wide.max()) > limits.max:
            raise Rejected("tensor_value", f"a value is beyond {tensor.datatype}")
    return wide.astype(datatype).reshape(tuple(tensor.shape))


def _declared(tensor: ModelInferRequest.InferInputTensor) -> tuple[np.dtype[Any], int]:
    datatype = DATATYPES.get(tensor.datatype)
    if datatype is None:
        raise Rejected("tensor_datatype", "a data type that is not served")
    count = 1
    for size in tensor.shape:
        if size < 0:
            raise Rejected("tensor_shape", "a negative size")
        count *= size
    return datatype, count


def _little_endian(values: Tensor) -> Tensor:
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
