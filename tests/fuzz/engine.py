"""One target under Atheris, in a process of its own: ``python -m fuzz.engine TARGET [options of libFuzzer]``.

Only the house's own modules are instrumented: what guides the search is our code, not that of the libraries.
"""

import faulthandler
import logging
import os
import resource
import sys

from fuzz.targets import TARGETS

AGAIN = "HILUM_FUZZ_AGAIN"
"""Names the program that a merge starts for itself: this module with its target."""
ADDRESS_SPACE = 6 << 30
"""What a runaway allocation meets before the machine does."""


def main() -> None:
    import atheris  # type: ignore[import-untyped]

    name, options = sys.argv[1], sys.argv[2:]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    faulthandler.disable()
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["hilum"], enable_loader_override=False):
        check = TARGETS[name].load()
    atheris.Setup([os.environ.get(AGAIN, sys.argv[0]), *options], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
