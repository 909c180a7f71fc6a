"""Each error of ours has its C-STORE status, and each status of a peer its remedy."""

import pytest

from hilum.dicom.status import Category, category_of, error_of, status_of
from hilum.errors import Duplicate, Fault, HilumError, Overloaded, Rejected, Unavailable


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("objects_unavailable", ""), 0xA700),
        (Overloaded("too_large", ""), 0xA700),
        (Rejected("uids_disagree", ""), 0xA900),
        (Rejected("sop_instance_uid_invalid", ""), 0x0117),
        (Rejected("uid_invalid", ""), 0xC003),
        (Rejected("uid_missing", ""), 0xC002),
        (Rejected("sop_class_not_supported", ""), 0x0122),
        (Rejected("not_authorised", ""), 0x0124),
        (Rejected("anything_else", ""), 0xC000),
        (Fault("object_missing", ""), 0x0110),
        (Duplicate("same_again", ""), 0x0000),
    ],
)
def test_status_of_an_error(error: HilumError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007])
def test_success_and_warnings_mean_stored(status: int) -> None:
    assert error_of(status) is None


@pytest.mark.parametrize(
    ("status", "kind"), [(0xA700, Overloaded), (0xA701, Overloaded), (0x0110, Unavailable), (0xA900, Rejected)]
)
def test_only_what_may_pass_later_is_tried_again(status: int, kind: type[HilumError]) -> None:
    assert isinstance(error_of(status), kind)


def test_an_unknown_status_is_a_failure() -> None:
    assert category_of(0x1234) is Category.FAILURE
