"""The typed Python client: all that the command line does, over gRPC; asynchronous and synchronous.

Every call has a deadline. What a server refuses is raised as `hilum.errors`: Rejected (change what you sent),
Duplicate (done already), Overloaded (back off), Unavailable (retry), Fault (theirs).
"""

from hilum.client.asynchronous import HilumClient
from hilum.client.models import (
    Acknowledgement,
    AlgorithmIdentity,
    Check,
    DeadLetter,
    DeadLetterDetail,
    Delivery,
    Finding,
    LedgerEntry,
    Model,
    Moment,
    Reconciliation,
    WorklistEntry,
)
from hilum.client.synchronous import SyncHilumClient
from hilum.client.wire import Addresses

__all__ = [
    "Acknowledgement",
    "Addresses",
    "AlgorithmIdentity",
    "Check",
    "DeadLetter",
    "DeadLetterDetail",
    "Delivery",
    "Finding",
    "HilumClient",
    "LedgerEntry",
    "Model",
    "Moment",
    "Reconciliation",
    "SyncHilumClient",
    "WorklistEntry",
]
