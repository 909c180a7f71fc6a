"""ONNX Runtime on the CPU: bounded threads, no spinning, every failure coded."""

from collections.abc import Mapping
from typing import Any

import onnxruntime

from hilum.errors import Fault
from hilum.inference.engines.port import Tensor, TensorSpec, check_inputs

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
}


class OnnxEngine:
    """`hilum.inference.engines.port.Engine` over one ONNX file."""

    def __init__(self, path: str, threads: int) -> None:
        """Raises Fault ``engine_load`` when the file is no network that this runtime can run."""
        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The arena keeps the largest batch's memory for ever; a spinning thread takes a core from the listeners.
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise Fault("engine_load", f"ONNX Runtime cannot load the engine: {type(error).__name__}") from error
        self.description = f"onnxruntime {onnxruntime.__version__} CPU"
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        check_inputs(self.inputs, inputs)
        names = [spec.name for spec in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))
        except Exception as error:
            raise Fault("engine_run", f"the engine failed: {type(error).__name__}") from error


def _spec(node: Any) -> TensorSpec:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise Fault("engine_load", f"the engine has a tensor of type {node.type}")
    return TensorSpec(node.name, datatype, tuple(size if isinstance(size, int) else -1 for size in node.shape))
