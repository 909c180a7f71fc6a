"""Derived identities: the same cause gives the same identity, and no two causes share one."""

import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from hilum.ids import control_id, derived_id, derived_uid, event_id

PARTS = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12), max_size=5)


@given(PARTS, PARTS)
def test_two_lists_of_parts_share_an_identity_only_when_equal(one: list[str], other: list[str]) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


def test_the_boundary_between_parts_counts() -> None:
    assert len({derived_id("ab", "c"), derived_id("a", "bc"), derived_id("abc"), derived_id("abc", "")}) == 4
    assert derived_id("1:a", "b") != derived_id("1", "a1:b")


def test_identities_are_the_same_in_every_process_and_version() -> None:
    assert derived_id("task", "case", "1.0.0") == "bf113736-6840-56b9-b0bf-201649699c14"
    assert event_id("cause", "fact") != event_id("cause", "fact", 1)


@given(PARTS)
def test_a_derived_id_is_a_uuid_of_version_5(parts: list[str]) -> None:
    assert uuid.UUID(derived_id(*parts)).version == 5


@given(PARTS)
def test_a_derived_uid_is_a_dicom_uid(parts: list[str]) -> None:
    """PS3.5 9.1 and B.2: at most 64 characters, no component with a leading zero."""
    uid = derived_uid(*parts)
    assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]*)", uid)
    assert len(uid) <= 44


@given(PARTS)
def test_a_control_id_fits_msh_10_of_every_version(parts: list[str]) -> None:
    assert re.fullmatch(r"H[A-Z2-7]{19}", control_id(*parts))
