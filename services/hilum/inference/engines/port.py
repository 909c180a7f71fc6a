"""An engine as a port: named tensors in, named tensors out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hilum.errors import Rejected

Tensor = NDArray[Any]

# The data types of the Open Inference Protocol that an array can hold.
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor's name, Open Inference Protocol data type and shape; -1 where the size may vary."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            size > 0 and wanted in (-1, size) for size, wanted in zip(shape, self.shape, strict=True)
        )


class Engine(Protocol):
    """One loaded network. Not safe for two threads at once."""

    description: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every output by name. Raises Rejected for inputs that do not fit, Fault when the engine fails."""


def check_inputs(specs: tuple[TensorSpec, ...], inputs: Mapping[str, Tensor]) -> None:
    """Raises Rejected ``tensor_name``, ``tensor_datatype``, ``tensor_shape`` or ``tensor_value``."""
    wanted = {spec.name for spec in specs}
    if inputs.keys() != wanted:
        raise Rejected("tensor_name", f"the inputs are {', '.join(sorted(wanted))}")
    batches = set()
    for spec in specs:
        tensor = inputs[spec.name]
        if tensor.dtype != DATATYPES[spec.datatype]:
            raise Rejected("tensor_datatype", f"{spec.name} takes {spec.datatype}")
        if not spec.accepts(tensor.shape):
            raise Rejected("tensor_shape", f"{spec.name} takes {list(spec.shape)}, not {list(tensor.shape)}")
        if tensor.dtype.kind == "f" and not bool(np.isfinite(tensor).all()):
            raise Rejected("tensor_value", f"{spec.name} holds values that are no numbers")
        if spec.shape and spec.shape[0] == -1:
            batches.add(tensor.shape[0])
    if len(batches) > 1:
        raise Rejected("tensor_shape", "the inputs differ in their batch size")
