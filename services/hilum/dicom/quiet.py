"""pydicom warns of what it puts up with; here that is judged by what comes of it, not told to the process."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# The filters belong to the process: two threads that change them at once would undo each other's.
_FILTERS = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings. One thread at a time: for parsing, which holds the interpreter anyway."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
