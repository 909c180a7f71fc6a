"""`hilum`: the command line. Exit codes: 0 done, 1 a check failed, 2 wrong use or bad settings.

Commands import what they need when they run, so that `hilum --help` answers at once.
"""

import sys


def main() -> None:
    """The entry point of the distribution."""
    from hilum.cli.commands import app  # noqa: PLC0415 - lazily, as everything here

    sys.exit(app())
