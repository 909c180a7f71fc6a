"""Policies as the log holds them, and what follows from them."""

from google.protobuf.message import DecodeError

from hilum.contracts.policies.v1 import policies_pb2
from hilum.errors import Rejected
from hilum.oversight.adapters import policy_log
from hilum.oversight.domain import Package, Policy, State, Wish, by_a_person, drafts, models

_INSTALLED = [Package("chest", "1.0.0", "a"), Package("chest", "1.1.0", "b"), Package("head", "2.0.0", "c")]


def check(data: bytes) -> None:
    """``data`` is an event of topic `policies`."""
    try:
        message = policies_pb2.Policy.FromString(data)
    except DecodeError:
        return
    try:
        message.at.ToDatetime()
    except ValueError:
        return
    policy = policy_log._policy(message)
    check_decisions({policy.algorithm: policy})
    check_decisions({"chest": policy})


def check_decisions(current: dict[str, Policy]) -> None:
    registered = {("chest", "1.0.0"): "a", ("head", "2.0.0"): "changed since"}
    wanted = {"chest": Wish("1.0.0", State.LIVE), "head": Wish("2.0.0", State.SILENT)}
    written = drafts(_INSTALLED, registered, wanted, {}, current)
    assert all(draft.state is State.OFF for draft in written if draft.algorithm not in {"chest"})
    shown = models(_INSTALLED, registered, current)
    assert [(model.package.name, model.package.version) for model in shown] == [(p.name, p.version) for p in _INSTALLED]
    for state in State:
        try:
            draft = by_a_person("chest", state, "why", current, registered, {})
        except Rejected as error:
            assert error.code in {"model_unknown", "package_changed"}
            continue
        assert draft.state is state
