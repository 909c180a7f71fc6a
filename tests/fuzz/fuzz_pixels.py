"""Pixels of a hostile data set: grey values between 0 and 1, or a coded reason; the decoders are the libraries'."""

import numpy as np

from fuzz.fuzz_instances import LIMIT, SYNTAXES
from hilum.dicom.pixels import display_values
from hilum.dicom.reading import parse
from hilum.errors import Rejected


def check(data: bytes) -> None:
    """Byte 0 chooses the transfer syntax, byte 1 the frame; the data set follows."""
    if len(data) < 2:
        return
    try:
        dataset = parse(data[2:], SYNTAXES[data[0] % len(SYNTAXES)], LIMIT)
        grey = display_values(dataset, data[1] % 4)
    except Rejected as error:
        assert error.code
        assert error.text
        return
    assert grey.dtype == np.float32
    assert grey.ndim == 2
    assert bool(np.isfinite(grey).all())
    assert float(grey.min()) >= 0.0
    assert float(grey.max()) <= 1.0
