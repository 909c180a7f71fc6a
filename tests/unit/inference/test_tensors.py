"""Open Inference Protocol tensors: raw and typed contents, and what is refused with which code."""

from typing import Any

import numpy as np
import pytest

from hilum.errors import Rejected
from hilum.inference.adapters.tensors import fill_response, tensors_of
from hilum.inference.engines.port import DATATYPES, TensorSpec
from hilum.openinference.open_inference_grpc_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse

Tensor = ModelInferRequest.InferInputTensor


def request(*tensors: Tensor, raw: tuple[bytes, ...] = ()) -> ModelInferRequest:
    return ModelInferRequest(model_name="m", inputs=tensors, raw_input_contents=raw)


def code_of(refused: ModelInferRequest) -> str:
    with pytest.raises(Rejected) as caught:
        tensors_of(refused)
    return caught.value.code


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_raw_contents_are_row_major_little_endian(datatype: str) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1]], DATATYPES[datatype])
    tensor = Tensor(name="a", datatype=datatype, shape=[2, 3])
    read = tensors_of(request(tensor, raw=(values.astype(values.dtype.newbyteorder("<")).tobytes(),)))["a"]
    assert read.dtype == DATATYPES[datatype]
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-32768, 5]),
        ("INT32", "int_contents", [-7, 5]),
        ("INT64", "int64_contents", [-(2**40), 5]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 65535]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, -2.0]),
        ("FP64", "fp64_contents", [0.1, -2.0]),
    ],
)
def test_typed_contents_stand_in_the_field_of_their_type(datatype: str, field: str, values: list[Any]) -> None:
    contents = InferTensorContents(**{field: values})
    read = tensors_of(request(Tensor(name="a", datatype=datatype, shape=[2], contents=contents)))["a"]
    assert read.dtype == DATATYPES[datatype]
    assert read.tolist() == values


def fp32(*values: float) -> InferTensorContents:
    return InferTensorContents(fp32_contents=values)


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (request(Tensor(name="a", datatype="FP32", shape=[2]), raw=(b"1234567",)), "tensor_contents"),
        (request(Tensor(name="a", datatype="FP32", shape=[2]), raw=(b"", b"")), "tensor_contents"),
        (request(Tensor(name="a", datatype="FP32", shape=[1], contents=fp32(1)), raw=(b"1234",)), "tensor_contents"),
        (request(Tensor(name="a", datatype="FP32", shape=[3], contents=fp32(1, 2))), "tensor_contents"),
        (request(Tensor(name="a", datatype="FP64", shape=[2], contents=fp32(1, 2))), "tensor_contents"),
        (request(Tensor(name="a", datatype="FP16", shape=[1], contents=fp32(1))), "tensor_contents"),
        (request(Tensor(name="a", datatype="BF16", shape=[1]), raw=(b"12",)), "tensor_datatype"),
        (request(Tensor(name="a", datatype="BYTES", shape=[1]), raw=(b"12",)), "tensor_datatype"),
        (request(Tensor(name="a", datatype="", shape=[1], contents=fp32(1))), "tensor_datatype"),
        (request(Tensor(name="a", datatype="FP32", shape=[-1], contents=fp32(1))), "tensor_shape"),
        (request(Tensor(name="a", datatype="FP32", shape=[2**40, 2**40]), raw=(b"",)), "tensor_contents"),
        (request(Tensor(name="a", datatype="BOOL", shape=[1]), raw=(b"\x02",)), "tensor_value"),
        (
            request(
                Tensor(name="a", datatype="FP32", shape=[1], contents=fp32(1)),
                Tensor(name="a", datatype="FP32", shape=[1], contents=fp32(1)),
            ),
            "tensor_name",
        ),
        (
            request(Tensor(name="a", datatype="INT8", shape=[1], contents=InferTensorContents(int_contents=[128]))),
            "tensor_value",
        ),
    ],
)
def test_contents_that_do_not_hold_are_refused(refused: ModelInferRequest, code: str) -> None:
    assert code_of(refused) == code


@pytest.mark.parametrize("raw", [True, False])
def test_outputs_are_given_as_the_request_was(raw: bool) -> None:
    values = np.array([[0.25, 0.5]], np.float32)
    response = ModelInferResponse()
    fill_response(response, [TensorSpec("p", "FP32", (-1, 2))], {"p": values}, raw=raw)
    assert list(response.outputs[0].shape) == [1, 2]
    if raw:
        assert response.raw_output_contents[0] == values.astype("<f4").tobytes()
    else:
        assert list(response.outputs[0].contents.fp32_contents) == [0.25, 0.5]


def test_half_precision_has_no_typed_field_and_is_given_raw() -> None:
    response = ModelInferResponse()
    fill_response(response, [TensorSpec("p", "FP16", (1,))], {"p": np.array([1], np.float16)}, raw=False)
    assert response.raw_output_contents[0] == np.array([1], "<f2").tobytes()
