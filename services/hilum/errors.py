"""The taxonomy of errors, each named for its remedy.

    HilumError
    ├── Rejected      the sender must change what it sent
    ├── Duplicate     it was done already; answer as before
    ├── Overloaded    back off, then send the same again
    ├── Unavailable   a dependency is away; retry
    └── Fault         ours; dead-letter it, a person looks

Every inbound adapter holds one table from these to its protocol's own answer: AA/AE/AR, a DIMSE
status, a gRPC code, an OperationOutcome. ``code`` is a stable snake_case reason that is safe to
log, count and show; ``text`` explains it and never holds what identifies a patient.
"""


class HilumError(Exception):
    """Base of every error that Hilum raises on purpose."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class Rejected(HilumError):
    """The input cannot be accepted as it is; sending the same bytes again will not help."""


class Duplicate(HilumError):
    """The same input was accepted before; there is nothing left to do."""


class Overloaded(HilumError):
    """No room at present; the sender should back off and send the same bytes again."""


class Unavailable(HilumError):
    """Something that we need is away; the same call may succeed later."""


class Fault(HilumError):
    """A defect or a broken promise on our side; retrying will not mend it, a person must look."""
