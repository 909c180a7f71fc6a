"""Policies under drawn events, and what the search found in their reading."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.drawing import drawn
from fuzz.fuzz_policies import check
from hilum.contracts.policies.v1 import policies_pb2
from hilum.oversight.adapters import policy_log
from hilum.oversight.domain import State

texts = st.sampled_from(
    ["", "chest", "head", "1.0.0", "1.1.0", "live", "silent", "off", "odd", "package_changed", "not_installed"]
)


@drawn
@given(st.lists(texts, min_size=5, max_size=5), st.integers(0, 2**32), st.integers(-(2**40), 2**40))
def test_any_policy_leads_to_a_decision(fields: list[str], revision: int, seconds: int) -> None:
    algorithm, version, digest, state, reason = fields
    message = policies_pb2.Policy(
        algorithm=algorithm,
        algorithm_version=version,
        package_digest=digest,
        state=state,
        revision=revision,
        reason=reason,
    )
    message.at.seconds = seconds
    check(message.SerializeToString())


@drawn
@given(st.binary(max_size=80))
def test_so_does_anything_else(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("state", ["", "canary", "LIVE"])
def test_a_state_that_is_not_known_is_off(state: str) -> None:
    """Found by the target: oversight did not start for one, workflow and integration took it for live."""
    message = policies_pb2.Policy(algorithm="chest", state=state)
    message.at.FromDatetime(datetime(2026, 3, 29, tzinfo=UTC))
    assert policy_log._policy(message).state is State.OFF
