"""ONNX Runtime behind the engine port: what it takes, what it refuses, how it fails."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import Fault, Rejected
from hilum.inference.engines.onnx import OnnxEngine
from scenes.models import brightness_engine


@pytest.fixture
def engine(tmp_path: Path) -> OnnxEngine:
    path = tmp_path / "model.onnx"
    path.write_bytes(brightness_engine())
    return OnnxEngine(str(path), 1)


def image(batch: int = 1, side: int = 64) -> Any:
    return np.zeros((batch, 1, side, side), np.float32)


def test_the_engine_tells_its_tensors(engine: OnnxEngine) -> None:
    assert [(spec.name, spec.datatype, spec.shape) for spec in engine.inputs] == [("image", "FP32", (-1, 1, 64, 64))]
    assert {spec.name for spec in engine.outputs} == {"prob", "cam"}
    assert engine.description.startswith("onnxruntime")


def test_a_batch_gives_each_image_its_own_answer(engine: OnnxEngine) -> None:
    batch = image(2)
    batch[1] = 1
    prob = engine.run({"image": batch})["prob"][:, 0]
    assert prob == pytest.approx([1 / (1 + np.exp(4)), 1 / (1 + np.exp(-4))], abs=1e-5)


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({}, "tensor_name"),
        ({"image": image(), "other": image()}, "tensor_name"),
        ({"picture": image()}, "tensor_name"),
        ({"image": image().astype(np.float64)}, "tensor_datatype"),
        ({"image": image(side=32)}, "tensor_shape"),
        ({"image": image()[0]}, "tensor_shape"),
        ({"image": image(0)}, "tensor_shape"),
        ({"image": np.full((1, 1, 64, 64), np.nan, np.float32)}, "tensor_value"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(engine: OnnxEngine, inputs: Mapping[str, Any], code: str) -> None:
    with pytest.raises(Rejected) as caught:
        engine.run(inputs)
    assert caught.value.code == code


@pytest.mark.parametrize("content", [b"", b"not a network", brightness_engine()[:200]])
def test_a_file_that_is_no_network_is_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(Fault, match="engine_load"):
        OnnxEngine(str(path), 1)
