"""The stages of the greyscale pipeline against the clauses' own formulas, worked by hand."""

import numpy as np
import pytest
from pydicom.pixels.processing import apply_windowing

from datasets.images import image, item
from hilum.dicom.greyscale import window
from hilum.dicom.pixels import display_values
from hilum.errors import Rejected


def windowed(values: list[float], *arguments: object) -> list[float]:
    return [round(float(value), 6) for value in window(np.array(values, dtype=np.float64), *arguments)]  # type: ignore[arg-type]


def test_a_linear_window_of_2_to_the_n_selects_0_to_2_to_the_n_less_1() -> None:
    # PS3.3 C.11.2.1.2.1, note 2: centre 2^(n-1) and width 2^n select 0 to 2^n - 1.
    assert windowed([-1, 0, 4095, 4096], 2048, 4096) == [0, 0, 1, 1]


def test_a_linear_window_of_0_and_100_selects_minus_50_to_49() -> None:
    assert windowed([-50, -49, 0, 48, 49], 0, 100) == [0, round(1 / 99, 6), round(50 / 99, 6), round(98 / 99, 6), 1]


def test_a_linear_window_of_width_1_is_a_step_at_the_centre_less_a_half() -> None:
    assert windowed([99.4, 99.5, 99.6, 100], 100, 1) == [0, 0, 1, 1]


def test_linear_exact_reaches_its_ends_at_half_the_width() -> None:
    assert windowed([-51, -50, 0, 25, 50, 51], 0, 100, "LINEAR_EXACT") == [0, 0, 0.5, 0.75, 1, 1]


def test_sigmoid_is_a_half_at_the_centre_and_has_slope_1_by_the_width() -> None:
    # C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w)); a quarter of the width off the centre gives 1 / (1 + 1/e).
    expected = [round(1 / (1 + np.e), 6), 0.5, round(1 / (1 + 1 / np.e), 6)]
    assert windowed([75, 100, 125], 100, 100, "SIGMOID") == expected


def test_sigmoid_far_from_its_centre_is_0_and_1_without_overflow() -> None:
    assert windowed([-1e9, 1e9], 0, 1e-3, "SIGMOID") == [0, 1]


def test_an_unknown_function_is_refused() -> None:
    with pytest.raises(Rejected, match="voi_function_unknown"):
        display_values(image([[1, 2]], WindowCenter=1, WindowWidth=2, VOILUTFunction="CUBIC"))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [False, True])
def test_windows_agree_with_pydicom(function: str, signed: bool) -> None:
    values = np.arange(-2048 if signed else 0, 2048).reshape(-1, 64)
    dataset = image(
        values,
        bits_stored=12,
        signed=signed,
        WindowCenter=300,
        WindowWidth=900,
        VOILUTFunction=function,
        RescaleSlope=2,
        RescaleIntercept=-500,
    )
    low, high = (-2048 * 2 - 500, 2047 * 2 - 500) if signed else (-500, 4095 * 2 - 500)
    theirs = (apply_windowing(values * 2.0 - 500, dataset) - low) / (high - low)
    assert np.allclose(display_values(dataset), theirs, atol=1e-6)


def test_rescale_comes_before_the_window() -> None:
    dataset = image([[0, 1024, 2048]], RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=0.5, WindowWidth=2049)
    assert display_values(dataset).tolist() == [[0, 0.5, 1]]


def test_a_negative_slope_turns_the_order_of_stored_values_about() -> None:
    dataset = image([[0, 50, 100]], RescaleSlope=-1, RescaleIntercept=100, WindowCenter=50.5, WindowWidth=101)
    assert display_values(dataset).tolist() == [[1, 0.5, 0]]


def test_a_slope_of_zero_is_refused() -> None:
    with pytest.raises(Rejected, match="rescale_invalid"):
        display_values(image([[1, 2]], RescaleSlope=0, RescaleIntercept=0))


def test_a_modality_table_maps_below_its_first_value_to_the_first_entry_and_beyond_to_the_last() -> None:
    # C.11.1.1.1
    table = item(LUTDescriptor=[3, 10, 8], LUTData=[0, 100, 200], ModalityLUTType="US")
    dataset = image([[0, 10, 11, 12, 4000]], bits_stored=12, ModalityLUTSequence=table)
    dataset.WindowCenter, dataset.WindowWidth = 100.5, 201
    assert display_values(dataset).tolist() == [[0, 0, 0.5, 1, 1]]


def test_a_voi_table_is_used_on_the_output_of_rescale() -> None:
    table = item(LUTDescriptor=[4, 0, 8], LUTData=[0, 51, 102, 255])
    dataset = image([[1000, 1001, 1002, 1003]], RescaleSlope=1, RescaleIntercept=-1000, VOILUTSequence=table)
    assert display_values(dataset).ravel() == pytest.approx([0, 0.2, 0.4, 1.0])


def test_a_voi_table_on_signed_values_starts_below_zero() -> None:
    # C.11.2.1.1: the second value of the descriptor is signed where the input is.
    table = item(LUTDescriptor=[5, -2, 16], LUTData=[0, 16384, 32768, 49152, 65535])
    dataset = image([[-3, -2, -1, 0, 1, 2, 3]], bits_stored=12, signed=True, VOILUTSequence=table)
    expected = np.array([0, 0, 16384, 32768, 49152, 65535, 65535]) / 65535
    assert display_values(dataset).ravel() == pytest.approx(expected)


def test_a_first_value_written_as_unsigned_is_read_as_signed_where_the_input_is() -> None:
    table = item(LUTDescriptor=[5, 65534, 16], LUTData=[0, 16384, 32768, 49152, 65535])
    dataset = image([[-2, 0, 2]], bits_stored=12, signed=True, VOILUTSequence=table)
    assert display_values(dataset).ravel() == pytest.approx([0, 32768 / 65535, 1])


def test_a_voi_table_comes_before_a_window() -> None:
    table = item(LUTDescriptor=[2, 0, 8], LUTData=[255, 0])
    dataset = image([[0, 1]], VOILUTSequence=table, WindowCenter=1, WindowWidth=2)
    assert display_values(dataset).tolist() == [[1, 0]]


def test_a_table_is_scaled_by_the_bits_of_its_descriptor() -> None:
    table = item(LUTDescriptor=[2, 0, 12], LUTData=[0, 4095])
    assert display_values(image([[0, 1]], VOILUTSequence=table)).tolist() == [[0, 1]]


def test_a_table_shorter_than_its_descriptor_is_refused() -> None:
    table = item(LUTDescriptor=[300, 0, 16], LUTData=[0, 1, 2])
    with pytest.raises(Rejected, match="lut_invalid"):
        display_values(image([[0, 1]], VOILUTSequence=table))


def test_of_several_windows_the_first_is_used() -> None:
    dataset = image([[0, 100, 1000]], WindowCenter=[50.5, 500], WindowWidth=[101, 1000])
    assert display_values(dataset).tolist() == [[0, 1, 1]]


def test_a_window_that_its_function_forbids_is_passed_over() -> None:
    # C.11.2.1.2.1: the width of LINEAR is 1 or more.
    dataset = image([[0, 100, 1000]], WindowCenter=[50, 500.5], WindowWidth=[0, 1001])
    assert display_values(dataset).ravel() == pytest.approx([0, 0.1, 1])
