"""From probabilities and maps to findings: states, boxes, the most telling image."""

import numpy as np
import pytest

from hilum.errors import Fault
from hilum.inference.domain import (
    Box,
    EngineSpec,
    ImageReading,
    OperatingPoint,
    State,
    activation_of,
    box_of,
    in_source,
    most_telling,
    newest,
    probabilities_of,
    state_of,
)
from hilum.inference.preprocessing import Placement

POINT = OperatingPoint("spot", 0, 0.6, 0.4)
WHOLE = Placement(640, 640, 0, 0, 0.1, 0.1)


@pytest.mark.parametrize(
    ("probability", "state"),
    [
        (0.0, "absent"),
        (0.399, "absent"),
        (0.4, "indeterminate"),
        (0.599, "indeterminate"),
        (0.6, "present"),
        (1, "present"),
    ],
)
def test_the_state_follows_the_operating_point(probability: float, state: str) -> None:
    assert state_of(probability, POINT) == State(state)


def test_without_a_band_nothing_is_indeterminate() -> None:
    point = OperatingPoint("spot", 0, 0.5, 0.5)
    assert {state_of(p / 100, point) for p in range(101)} == {State.PRESENT, State.ABSENT}


@pytest.mark.parametrize("row", [[0.1, np.nan], [0.5, 1.2], [-0.1, 0.4], [0.4]])
def test_what_is_no_probability_is_a_fault(row: list[float]) -> None:
    with pytest.raises(Fault, match="engine_output"):
        probabilities_of(np.array([row], np.float32), [OperatingPoint("a", 1, 0.5, 0.5)])


def test_the_box_is_the_hot_region_around_the_peak_in_source_pixels() -> None:
    activation = np.zeros((8, 8), np.float32)
    activation[2:4, 5] = 1.0
    activation[7, 0] = 0.9  # another hot spot, not joined to the peak
    assert box_of(activation, WHOLE, 64, 64) == Box(160, 400, 320, 480)


def test_the_box_undoes_the_padding_of_the_fit() -> None:
    placement = Placement(320, 640, 16, 0, 0.1, 0.1)  # 32 of 64 rows hold the image
    activation = np.zeros((8, 8), np.float32)
    activation[2, 1] = 1.0
    assert box_of(activation, placement, 64, 64) == Box(0, 80, 80, 160)


def test_a_region_in_the_padding_gives_no_box() -> None:
    placement = Placement(320, 640, 16, 0, 0.1, 0.1)
    activation = np.zeros((8, 8), np.float32)
    activation[0, 1] = 1.0
    assert box_of(activation, placement, 64, 64) is None


@pytest.mark.parametrize("value", [0.0, 0.8, np.nan])
def test_a_flat_map_points_nowhere(value: float) -> None:
    assert box_of(np.full((8, 8), value, np.float32), WHOLE, 64, 64) is None


def test_the_map_is_cut_to_the_part_that_covers_the_image() -> None:
    placement = Placement(320, 640, 16, 0, 0.1, 0.1)
    activation = np.repeat(np.arange(8, dtype=np.float32)[:, np.newaxis], 8, axis=1)
    cut = in_source(activation, placement, 64, 64)
    assert cut.shape == (8, 8)
    assert (cut.min(), cut.max()) == (2, 5)


def test_each_finding_has_its_own_channel_or_shares_the_only_one() -> None:
    two = np.stack([np.zeros((4, 4)), np.ones((4, 4))])[np.newaxis].astype(np.float32)
    second = OperatingPoint("b", 1, 0.5, 0.5)
    assert activation_of(two, second).max() == 1
    assert activation_of(two[:, :1], second).max() == 0


def test_a_map_of_another_rank_is_a_fault() -> None:
    with pytest.raises(Fault, match="engine_output"):
        activation_of(np.zeros((4, 4), np.float32), POINT)


def test_the_image_that_shows_it_most_is_chosen() -> None:
    readings = [
        ImageReading(uid, np.array([probability], np.float32), None, WHOLE)
        for uid, probability in (("1.1", 0.2), ("1.2", 0.9), ("1.3", 0.9))
    ]
    assert most_telling(readings, POINT).sop_instance_uid == "1.2"


def test_the_newest_version_is_by_number_and_a_release_follows_its_candidate() -> None:
    spec = EngineSpec("m", "", "", "", "", "i", "p", None, 8, 8, "pad", 0, 1, (POINT,))
    assert newest(dict.fromkeys(["1.9.0", "1.10.0", "1.10.0-rc.1", "1.2.30"], spec)) == "1.10.0"
