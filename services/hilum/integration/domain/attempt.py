"""One delivery on its way: its record, what an attempt can come to, and what follows from that."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hilum.integration.domain.plan import Delivery, Standing
from hilum.integration.domain.rule import Rule

PLANNED, LANDED, REFUSED, HELD, UNCONFIRMED = "planned", "landed", "refused", "held", "unconfirmed"
PATIENT_UNKNOWN, PATIENT_AMBIGUOUS = "patient_unknown", "patient_ambiguous"
HELD_BY_PEER = frozenset({PATIENT_UNKNOWN, PATIENT_AMBIGUOUS})
# Longer than any attempt takes. A claim that is older is of a process that died, or stands still: another may take it.
CLAIMED_FOR = timedelta(minutes=20)
_LONGEST_WAIT = timedelta(seconds=60)  # between two attempts of ours
_LONGEST_WISH = timedelta(hours=1)  # that a peer may put us off for


@dataclass(frozen=True)
class Proof:
    """What the peer itself said."""

    name: str
    value: str


@dataclass(frozen=True)
class Landed:
    """The peer took it and said so."""

    proofs: tuple[Proof, ...]


@dataclass(frozen=True)
class Refused:
    """The peer will not have it; sending the same again would not help."""

    reason: str
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True)
class Held:
    """Nothing may be sent until something outside changes (a patient that the EHR does not know)."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """Not this time.

    ``reached``: the peer was there, so that this counts as an attempt; ``in_doubt``: it may have it all the same.
    """

    reason: str
    reached: bool = True
    in_doubt: bool = False
    after: timedelta | None = None
    proofs: tuple[Proof, ...] = ()


Outcome = Landed | Refused | Held | Failed


@dataclass(frozen=True)
class Persistence:
    """How often a destination is asked, and how long is waited before the second time (doubling after that)."""

    attempts: int
    retry: timedelta


@dataclass(frozen=True)
class DeliveryRecord:
    """A planned delivery and all that has become of it. ``state`` is of the deliveries contract.

    ``changes`` counts the states that were published; ``next_at`` is when it may be tried (again).
    """

    id: str
    delivery: Delivery
    result_id: str
    site: str
    study_instance_uid: str
    state: str
    planned_at: datetime
    next_at: datetime
    reason: str = ""
    attempts: int = 0
    failures: int = 0
    in_doubt: bool = False
    changes: int = 0
    case_version: int = 0
    holder: str = ""  # whose claim it is, while it is on its way
    priority: str = ""
    sha256: bytes = b""
    object_key: str = ""
    proofs: tuple[Proof, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether anything may still be sent, now or once what holds it is gone."""
        return self.state in (PLANNED, HELD)

    @property
    def raised(self) -> bool:
        """Whether the peer has, or may have, this priority."""
        return self.state in (LANDED, UNCONFIRMED) or self.in_doubt or (self.open and self.reached)

    @property
    def reached(self) -> bool:
        """Whether the peer has seen, or may have seen, its document: from then on it stays as it is."""
        return self.attempts > 0 or self.in_doubt

    @property
    def claimed(self) -> bool:
        """Whether it is on its way at this moment: its attempt will say what became of it."""
        return bool(self.holder)


def abandoned(record: DeliveryRecord) -> DeliveryRecord:
    """``record`` when its holder died with it, or stands still: it may have been sent."""
    return replace(record, holder="", in_doubt=record.in_doubt or record.object_key != "")


def suppressed(rule: Rule) -> str:
    return f"suppressed:{rule.code}"


def stopped(record: DeliveryRecord, standing: Standing, rule: Rule | None) -> DeliveryRecord:
    """``record`` after the guard said no. What may have arrived before is not called suppressed: a person looks."""
    reason = rule.code if rule else ""
    if standing is Standing.HELD:
        return replace(record, state=HELD, reason=reason)
    if record.in_doubt:
        return replace(record, state=UNCONFIRMED, reason=reason)
    return replace(record, state=f"suppressed:{reason}", reason=reason)


def settled(record: DeliveryRecord, outcome: Outcome, persistence: Persistence, now: datetime) -> DeliveryRecord:
    """``record`` after an attempt. Attempts that reached the peer are bounded; an absent peer is waited for."""
    match outcome:
        case Landed(proofs):
            return replace(record, state=LANDED, reason="", proofs=proofs, attempts=record.attempts + 1)
        case Refused(reason, proofs):
            return replace(record, state=REFUSED, reason=reason, proofs=proofs, attempts=record.attempts + 1)
        case Held(reason):
            again = now + min(_LONGEST_WAIT * 2 ** min(record.failures, 16), _LONGEST_WISH)
            return replace(record, state=HELD, reason=reason, failures=record.failures + 1, next_at=again)
        case Failed():
            return _failed(record, outcome, persistence, now)


def _failed(record: DeliveryRecord, outcome: Failed, persistence: Persistence, now: datetime) -> DeliveryRecord:
    failures = record.failures + 1
    backoff = min(persistence.retry * 2 ** min(failures - 1, 16), _LONGEST_WAIT)
    wait = backoff if outcome.after is None else min(outcome.after, _LONGEST_WISH)
    tried = replace(
        record,
        state=PLANNED,
        reason=outcome.reason,
        attempts=record.attempts + int(outcome.reached),
        failures=failures,
        in_doubt=record.in_doubt or outcome.in_doubt,
        proofs=outcome.proofs or record.proofs,
        next_at=now + wait,
    )
    if tried.attempts < persistence.attempts:
        return tried
    return replace(tried, state=UNCONFIRMED if tried.in_doubt else REFUSED)
