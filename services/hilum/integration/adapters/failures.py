"""From errors to outcomes: one table for every destination."""

from datetime import timedelta

from hilum.errors import Fault, HilumError, Overloaded, Rejected
from hilum.fhir.client import Busy
from hilum.integration.domain.attempt import Failed, Outcome, Refused

# Nothing reached the peer: it is waited for, however long that takes.
_NOT_REACHED = frozenset(
    {"ris_unreachable", "fhir_unreachable", "connection_failed", "objects_unavailable", "worker_start"}
)
# The peer turned us away as a whole, not this delivery: worth asking again, within bounds.
_NOT_NOW = frozenset({"association_rejected", "fhir_not_authorised"})
# The peer may have acted on what was sent.
_IN_DOUBT = frozenset({"ris_no_answer", "fhir_timeout", "fhir_server_error", "fhir_bad_response", "no_answer"})


def outcome_of(error: HilumError) -> Outcome:
    """What an attempt that ended in ``error`` came to."""
    if isinstance(error, Rejected | Fault) and error.code not in _IN_DOUBT | _NOT_NOW:
        return Refused(error.code)
    after = error.retry_after if isinstance(error, Busy) else None
    return Failed(
        error.code,
        reached=error.code not in _NOT_REACHED and not isinstance(error, Overloaded),
        in_doubt=error.code in _IN_DOUBT,
        after=timedelta(seconds=after) if after is not None else None,
    )
