"""A model package that a test can reckon by hand: the probability rises with brightness, the map shows where.

The engine is written byte by byte in ONNX's own protobuf encoding, so that no test needs an exporter.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

_FLOAT = 1
CELL = 8


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, values: list[int] | int) -> bytes:
    if isinstance(values, int):
        return _bytes(1, name) + _number(3, values) + _number(20, 2)
    return _bytes(1, name) + b"".join(_number(8, value) for value in values) + _number(20, 7)


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: list[int] | int) -> bytes:
    body = b"".join(_bytes(1, name) for name in inputs) + b"".join(_bytes(2, name) for name in outputs)
    body += _bytes(4, kind) + b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
    return _bytes(1, body)


def _value(field: int, name: str, shape: list[int | str]) -> bytes:
    sizes = b"".join(_bytes(1, _number(1, size) if isinstance(size, int) else _bytes(2, size)) for size in shape)
    tensor = _number(1, _FLOAT) + _bytes(2, sizes)
    return _bytes(field, _bytes(1, name) + _bytes(2, _bytes(1, tensor)))


def _constant(name: str, value: float) -> bytes:
    return _bytes(5, _number(2, _FLOAT) + _bytes(8, name) + _bytes(9, struct.pack("<f", value)))


def brightness_engine(side: int = 64, gain: float = 8.0) -> bytes:
    """ONNX: ``prob`` = sigmoid(gain * (brightest cell - 0.5)), ``cam`` = the mean of each 8 x 8 cell."""
    graph = b"".join(
        [
            _node("AveragePool", ["image"], ["cam"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
            _node("GlobalMaxPool", ["cam"], ["peak"]),
            _node("Flatten", ["peak"], ["flat"], axis=1),
            _node("Sub", ["flat", "half"], ["above"]),
            _node("Mul", ["above", "gain"], ["logit"]),
            _node("Sigmoid", ["logit"], ["prob"]),
            _bytes(2, "brightness"),
            _constant("half", 0.5),
            _constant("gain", gain),
            _value(11, "image", ["batch", 1, side, side]),
            _value(12, "prob", ["batch", 1]),
            _value(12, "cam", ["batch", 1, side // CELL, side // CELL]),
        ]
    )
    opset = _bytes(8, _bytes(1, "") + _number(2, 13))
    return _number(1, 8) + opset + _bytes(7, graph)


def write_package(folder: Path, *, side: int = 64, engine: bytes | None = None, **changes: Any) -> Path:
    """A package whose finding is a bright spot; ``changes`` replace parts of its manifest."""
    engine = brightness_engine(side) if engine is None else engine
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(engine)
    (folder / "CARD.md").write_text("A bright spot. For tests.")
    manifest: dict[str, Any] = {
        "schema": 1,
        "name": "bright-spot",
        "version": "1.0.0",
        "title": "A bright spot",
        "use": "detection",
        "outputs": ["priority", "finding", "probability", "absent", "localisation"],
        "notice": "For tests.",
        "card": "CARD.md",
        "device": {"manufacturer": "Hilum", "model_name": "Bright spot", "uid": "2.25.7"},
        "engine": {
            "file": "model.onnx",
            "sha256": hashlib.sha256(engine).hexdigest(),
            "input": "image",
            "shape": [1, 1, side, side],
            "outputs": {"probability": "prob", "activation": "cam"},
        },
        "preprocessing": {"rows": side, "columns": side, "fit": "pad", "mean": 0, "std": 1},
        "eligibility": {},
        "findings": [
            {
                "id": "spot",
                "index": 0,
                "code": {"system": "http://snomed.info/sct", "code": "36118008", "display": "Spot"},
                "threshold": 0.6,
                "absent_below": 0.4,
                "priority": "S",
            }
        ],
        "useful_minutes": 60,
    }
    (folder / "model.yaml").write_text(json.dumps(manifest | changes))
    return folder
