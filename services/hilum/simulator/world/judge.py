"""Who watches a seeded world, and what must hold in it: at every step, and at the end.

At every step
    a message that came twice is one fact
    an acknowledged message is in the log, durably; a stored image too, with its object
    a priority is never lower than one that was sent before; it comes at most once for a study and an algorithm
    no priority follows a final report that the log has held for longer than the guard may be stale
    nothing is sent of a result whose task was made under a silent policy
    one identity has one content at each peer
At the end
    every study ends as its facts say, in whatever order they came; and its results are where they belong
    every refused message is a dead letter, and nothing else is one
    the ledger adds up
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from hilum.contracts import topics
from hilum.contracts.cases.v1.cases_pb2 import CaseState
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.deliveries.v1.deliveries_pb2 import Delivery
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.contracts.tasks.v1.tasks_pb2 import Task
from hilum.eventlog.port import Event
from hilum.hl7.message import parse
from hilum.ids import control_id
from hilum.imaging.domain import Arrival, object_key
from hilum.simulator.world.story import Course, Story, Study, Telling, positive

_FINAL = {"F", "C", "X"}
_STALE = 5.0  # the guard's own limit, in seconds
_ON_ITS_WAY = 4.0  # from the claim to the peer: rendering, and a network that may be slow
_RANK = {"R": 1, "A": 2, "S": 3}
_ASKS = {"alpha": 3, "beta": 2}  # what each of the world's packages asks for
_QUIET = {Course.PLAIN, Course.LATE_IMAGE, Course.MERGED, Course.TWO_CONTENTS}  # nothing else bears on a priority
_FLAG = {"AA": "S", "A": "A"}


class Violation(AssertionError):
    """Something that must hold does not; ``rule`` says which."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


@dataclass
class Judge:
    """What the log holds, as one reader sees it, and what the peers and the senders saw."""

    story: Story
    time: Callable[[], float]
    held: Callable[[str], bytes | None]
    grace: Callable[[], float]
    """How long integration stood still of late."""
    messages: dict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))
    instances: dict[tuple[str, bytes], Instance] = field(default_factory=dict)
    cases: dict[str, CaseState] = field(default_factory=dict)
    final_since: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    letters: dict[str, DeadLetter] = field(default_factory=dict)
    policies: dict[tuple[str, int], str] = field(default_factory=dict)
    priorities: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    stated: dict[tuple[str, int], str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    contents: dict[str, bytes] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)

    # What the log makes durable.

    def durable(self, event: Event) -> None:
        if event.event_id in self.seen:
            return  # again, and perhaps late: two relays may empty one outbox; consumers drop it
        self.seen.add(event.event_id)
        match event.topic:
            case topics.MESSAGES.name:
                raw = RawMessage.FromString(event.value)
                self.messages[raw.sha256].add(raw.acknowledgement_code)
            case topics.INSTANCES.name:
                instance = Instance.FromString(event.value)
                self.instances[instance.sop_instance_uid, instance.sha256] = instance
            case topics.ORDERS.name:
                order = Order.FromString(event.value)
                self._stated_once((order.message_control_id, order.ordinal), event.event_id)
            case topics.STUDIES.name:
                self._case(CaseState.FromString(event.value))
            case topics.FINDINGS.name:
                result = Result.FromString(event.value)
                self.results[result.result_id] = result
            case topics.DELIVERIES.name:
                delivery = Delivery.FromString(event.value)
                self.deliveries[delivery.delivery_id] = delivery
            case topics.DEAD_LETTERS.name:
                letter = DeadLetter.FromString(event.value)
                self.letters[letter.dead_letter_id] = letter
            case topics.POLICIES.name:
                policy = Policy.FromString(event.value)
                self.policies[policy.algorithm, policy.revision] = policy.state
            case topics.TASKS_URGENT.name | topics.TASKS_ROUTINE.name | topics.TASKS_BACKFILL.name:
                task = Task.FromString(event.value)
                self.tasks[task.task_id] = task

    def _stated_once(self, fact: tuple[str, int], event_id: str) -> None:
        """The same event may come twice; the same fact under two identities may not."""
        if self.stated.setdefault(fact, event_id) != event_id:
            raise Violation("each_message_once", f"{fact[0]} was turned into orders twice")

    def _case(self, state: CaseState) -> None:
        known = self.cases.get(state.case_id)
        if known is not None and known.version >= state.version:
            return
        self.cases[state.case_id] = state
        if state.report_status in _FINAL:
            self.final_since.setdefault(state.study_instance_uid, self.time())

    # What the senders were told.

    def acknowledged(self, telling: Telling, code: str) -> None:
        digest = hashlib.sha256(telling.payload).digest()
        if code not in self.messages.get(digest, ()):
            raise Violation(
                "acknowledged_is_durable", f"{telling.message_control_id} was answered {code}, and is not kept"
            )
        expected = "AE" if telling.refused else "AA"
        if code != expected:
            raise Violation("answered_rightly", f"{telling.message_control_id} was answered {code}, not {expected}")
        self.answered[telling.message_control_id] = code

    def stored(self, arrival: Arrival) -> None:
        instance = self.instances.get((arrival.sop_instance_uid, arrival.sha256))
        if instance is None or self.held(instance.object_key) != arrival.file:
            raise Violation("stored_is_durable", f"{arrival.sop_instance_uid} was answered 0000H, and is not held")
        if instance.object_key != object_key(arrival):
            raise Violation("stored_in_place", f"{arrival.sop_instance_uid} lies in quarantine")

    def put_aside(self, arrival: Arrival) -> None:
        instance = self.instances.get((arrival.sop_instance_uid, arrival.sha256))
        if instance is None or instance.reason != "sop_instance_conflict" or self.held(instance.object_key) is None:
            raise Violation("refused_is_kept", f"{arrival.sop_instance_uid} was refused, and is not in quarantine")

    # What arrives at the peers.

    def at_ris(self, payload: bytes) -> None:
        """A priority, or a finding with its abnormal flag, as it comes in, before the RIS answers."""
        message = parse(payload)
        identity = message.get("MSH-10")
        groups = message.groups(("ORC", "OBR"))
        accession = groups[0].get("IPC-1.1") or groups[0].get("OBR-18")
        asked = [group.get("TQ1-9.1") or group.get("ORC-7.6") for group in groups]
        asked += [_FLAG.get(row.raw(8), "") for group in groups for row in group.every("OBX")]
        rank = max((_RANK.get(code, 0) for code in asked), default=0)
        self._one_content(identity, payload)
        sent = self.priorities[accession]
        highest = max((other for name, other in sent.items() if name != identity), default=0)
        if highest and rank <= highest:
            raise Violation("ratchet", f"{accession} was asked for {rank} after {highest}")
        study = next(one for one in self.story.studies if one.order.accession_number == accession)
        since = self.final_since.get(study.order.study_instance_uid)
        late = self.time() - since if since is not None else 0.0
        if late > _STALE + _ON_ITS_WAY + self.grace():
            raise Violation("no_priority_after_final", f"{accession} was raised {late:.1f} s after its final report")
        sent[identity] = rank

    def at_peer(self, delivery_id: str, result_id: str, data: bytes) -> None:
        """A document comes in: it states a result whose task was made under a policy that lets it out."""
        self._one_content(delivery_id, data)
        if not self._live(self.tasks[self.results[result_id].task_id]):
            raise Violation("policy_pinned", f"{delivery_id} goes out, and its task was made silently")

    def _one_content(self, identity: str, data: bytes) -> None:
        digest = hashlib.sha256(data).digest()
        if self.contents.setdefault(identity, digest) != digest:
            raise Violation("one_content_an_identity", f"{identity} came with two contents")

    def _live(self, task: Task) -> bool:
        return self.policies.get((task.algorithm, task.policy_revision)) == "live"

    # The end.

    def unfinished(self) -> list[str]:
        """What has not ended yet: studies without their ending, deliveries that are still open."""
        waiting = [study.order.accession_number for study in self.story.studies if self._differs(study)]
        open_ones = [one.delivery_id for one in self.deliveries.values() if one.state == "planned"]
        told = {telling.message_control_id for telling in self.story.tellings}
        return waiting + open_ones + sorted(told - set(self.answered))

    def verdict(self) -> None:
        """Raise the first `Violation` of what must hold in the end."""
        for study in self.story.studies:
            if difference := self._differs(study):
                raise Violation("ends_as_told", f"{study.order.accession_number} ({study.course}): {difference}")
        self._dead_letters()
        self._priorities()
        for delivery in self.deliveries.values():
            # Unconfirmed: a guard stopped it when it may have arrived already; a person looks.
            if delivery.state not in ("landed", "held", "unconfirmed") and not delivery.state.startswith("suppressed:"):
                raise Violation("delivered", f"{delivery.kind} to {delivery.destination} is {delivery.state}")

    def _differs(self, study: Study) -> str:
        """How the case of ``study`` differs from its ending; empty when it does not."""
        order = study.order
        cases = [one for one in self.cases.values() if self._is_of(one, study) and not _superseded(one)]
        if len(cases) != 1:
            return f"{len(cases)} cases"
        case = cases[0]
        images = study.image_uids
        said = {
            "images": (case.instance_count, len(images)),
            "orders": (len(case.orders), int(study.ordered)),
            "report": (case.report_status, study.report_status),
            "cancelled": (case.cancelled, study.disposition == "cancelled"),
        }
        for name, (found, expected) in said.items():
            if found != expected:
                return f"{name}: {found!r}, not {expected!r}"
        if study.disposition != "conflict:identity":
            known = {one.value for one in case.patient.identifiers}
            if study.patient_id not in known:
                return "patient: not the one that survives"
        for state in case.algorithms:
            if study.disposition == "cancelled" and state.disposition == "resulted":
                continue  # its result was there before
            if state.disposition != study.disposition:
                return f"{state.algorithm}: {state.disposition}, not {study.disposition}"
            if study.disposition == "resulted" and (wrong := self._result_differs(study, state.task_id)):
                return f"{state.algorithm}: {wrong}"
        if not case.algorithms:
            return f"no algorithm looked at {order.accession_number}"
        return ""

    def _result_differs(self, study: Study, task_id: str) -> str:
        task = self.tasks[task_id]
        if {one.sop_instance_uid for one in task.inputs} != study.image_uids:
            return "its last task leaves images out"
        result = next(one for one in self.results.values() if one.task_id == task_id)
        mine = {one.kind: one for one in self.deliveries.values() if one.result_id == result.result_id}
        expected = {"diagnostic_report": "landed", "structured_report": "landed"}
        if positive(task.algorithm, study.order.study_instance_uid):
            expected["secondary_capture"] = "landed"
        if not self._live(task):
            expected = dict.fromkeys(expected, "suppressed:algorithm_silent")
        for kind, state in expected.items():
            if kind not in mine:
                return f"its {kind} was never planned"
            if mine[kind].state != state:
                return f"its {kind} is {mine[kind].state}"
        return ""

    def _priorities(self) -> None:
        """What asked for a priority was heard by the RIS; where reports, cancellations and updates race, either may."""
        for delivery_id, delivery in self.deliveries.items():
            task = self.tasks[self.results[delivery.result_id].task_id]
            if control_id("delivery", delivery_id) in self.contents and not self._live(task):
                raise Violation("policy_pinned", f"{delivery_id} went to the RIS, and its task was made silently")
        for study in self.story.studies:
            if study.disposition != "resulted" or study.course not in _QUIET:
                continue
            uid = study.order.study_instance_uid
            asked = [
                _ASKS[task.algorithm]
                for task in self.tasks.values()
                if task.study_instance_uid == uid and self._live(task) and positive(task.algorithm, uid)
            ]
            expected = max((rank for rank in asked if rank > _RANK[study.order.priority]), default=0)
            heard = max(self.priorities[study.order.accession_number].values(), default=0)
            if heard != expected:
                raise Violation("priority_heard", f"{study.order.accession_number}: {heard}, not {expected}")

    def _is_of(self, case: CaseState, study: Study) -> bool:
        if case.study_instance_uid:
            return case.study_instance_uid == study.order.study_instance_uid
        numbers = {order.accession_number.value for order in case.orders}
        return study.order.accession_number in numbers

    def _dead_letters(self) -> None:
        refused = {hashlib.sha256(telling.payload).digest() for telling in self.story.tellings if telling.refused}
        kept = set()
        for letter in self.letters.values():
            if letter.topic != topics.MESSAGES.name:
                raise Violation("no_other_dead_letters", f"{letter.group} gave up {letter.topic}: {letter.reason}")
            kept.add(RawMessage.FromString(letter.value).sha256)
        if refused != kept:
            raise Violation(
                "refused_is_kept",
                f"{len(refused - kept)} refused are no dead letters, {len(kept - refused)} others are",
            )


def _superseded(case: CaseState) -> bool:
    return bool(case.algorithms) and all(one.disposition == "superseded" for one in case.algorithms)
