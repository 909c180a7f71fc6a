"""What a viewer shows: photometric interpretations, padding, frames, bit depths, lying headers."""

import struct
import tracemalloc

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from datasets.images import image, item
from hilum.dicom.lookup import expand_segments
from hilum.dicom.pixels import display_values
from hilum.errors import Rejected


def refused(dataset: Dataset, frame: int = 0) -> str:
    with pytest.raises(Rejected) as caught:
        display_values(dataset, frame)
    return caught.value.code


def test_monochrome1_shows_the_least_value_white() -> None:
    dataset = image([[0, 128, 255]], bits_stored=8, PhotometricInterpretation="MONOCHROME1")
    assert display_values(dataset).ravel() == pytest.approx([1, 1 - 128 / 255, 0])


def test_monochrome1_is_turned_about_after_its_window() -> None:
    dataset = image([[0, 25, 100]], PhotometricInterpretation="MONOCHROME1", WindowCenter=50.5, WindowWidth=101)
    assert display_values(dataset).ravel() == pytest.approx([1, 0.75, 0])


def test_an_inverse_presentation_shape_turns_black_and_white_about_once() -> None:
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        dataset = image(
            [[0, 255]], bits_stored=8, PhotometricInterpretation=photometric, PresentationLUTShape="INVERSE"
        )
        assert display_values(dataset).tolist() == [[1, 0]]


@pytest.mark.parametrize("bits_stored", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_every_depth_reaches_black_and_white(bits_stored: int, signed: bool) -> None:
    low = -(1 << bits_stored - 1) if signed else 0
    dataset = image([[low, low + (1 << bits_stored) - 1]], bits_stored=bits_stored, signed=signed)
    assert display_values(dataset).tolist() == [[0, 1]]


def test_values_of_8_bits_without_a_window_are_shown_as_they_are() -> None:
    assert display_values(image([[51, 102]], bits_stored=8)).ravel() == pytest.approx([0.2, 0.4])


def test_deeper_values_without_a_window_span_the_frame() -> None:
    assert display_values(image([[1000, 1500, 2000]], bits_stored=12)).tolist() == [[0, 0.5, 1]]


def test_bits_above_those_stored_are_not_part_of_the_value() -> None:
    # An overlay in the unused high bits (PS3.5 8.1.1).
    dataset = image([[0x8000, 0x8FFF]], bits_stored=16)
    dataset.BitsStored, dataset.HighBit = 12, 11
    assert display_values(dataset).tolist() == [[0, 1]]


def test_big_endian_values_are_read_as_such() -> None:
    dataset = image([[0, 1, 2]], WindowCenter=1.5, WindowWidth=3, syntax=ExplicitVRBigEndian)
    assert display_values(dataset).tolist() == [[0, 0.5, 1]]


def test_padding_is_black_and_does_not_stretch_the_range() -> None:
    dataset = image([[-2000, 0, 500, 1000]], signed=True, PixelPaddingValue=-2000)
    assert display_values(dataset).tolist() == [[0, 0, 0.5, 1]]


def test_a_padding_range_covers_both_ends_and_stays_black_in_monochrome1() -> None:
    dataset = image([[4095, 4000, 0, 1000]], bits_stored=12, PhotometricInterpretation="MONOCHROME1")
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 4095, 4000
    assert display_values(dataset).tolist() == [[0, 0, 1, 0]]


def test_a_constant_frame_is_mid_grey() -> None:
    assert display_values(image([[7, 7]])).tolist() == [[0.5, 0.5]]


def test_rgb_becomes_luminance() -> None:
    dataset = image([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], bits_stored=8)
    assert display_values(dataset).ravel() == pytest.approx([0.299, 0.587, 0.114, 1], abs=1e-6)


def test_ybr_full_becomes_its_luminance() -> None:
    dataset = image([[[0, 128, 128], [102, 128, 128]]], bits_stored=8, PhotometricInterpretation="YBR_FULL")
    assert display_values(dataset).ravel() == pytest.approx([0, 0.4], abs=0.005)


def test_planes_are_told_from_pixels() -> None:
    dataset = image([[[255, 0, 0], [255, 0, 0]]], bits_stored=8)
    dataset.PixelData, dataset.PlanarConfiguration = bytes([255, 255, 0, 0, 0, 0]), 1
    assert display_values(dataset).ravel() == pytest.approx([0.299, 0.299], abs=1e-6)


def palette(bits: int, red: bytes, green: bytes, blue: bytes, first: int = 0) -> dict[str, object]:
    count = len(red) * 8 // (8 if bits == 8 else 16)
    tables = {"Red": red, "Green": green, "Blue": blue}
    elements: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, data in tables.items():
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [count, first, bits]
        elements[f"{colour}PaletteColorLookupTableData"] = data
    return elements


def test_a_palette_of_16_bits_becomes_luminance() -> None:
    words = struct.pack("<2H", 0, 65535)
    dataset = image([[0, 1, 9]], bits_stored=8, **palette(16, words, words, bytes(4)))
    assert display_values(dataset).ravel() == pytest.approx([0, 0.886, 0.886], abs=1e-6)


def test_a_palette_of_8_bits_has_one_byte_an_entry() -> None:
    dataset = image([[4, 5, 6]], bits_stored=8, **palette(8, b"\x00\xff", b"\x00\xff", b"\x00\xff", first=5))
    assert display_values(dataset).ravel() == pytest.approx([0, 0, 1], abs=1e-6)


def test_a_palette_that_is_absent_is_refused() -> None:
    assert refused(image([[0]], bits_stored=8, PhotometricInterpretation="PALETTE COLOR")) == "palette_missing"


def test_discrete_and_linear_palette_segments_expand() -> None:
    # C.7.9.2: two entries as they are, then four in equal steps to 50.
    assert expand_segments([0, 2, 0, 10, 1, 4, 50], 6) == [0, 10, 20, 30, 40, 50]


def test_palette_segments_cannot_make_more_than_the_descriptor_states() -> None:
    with pytest.raises(Rejected, match="lut_invalid"):
        expand_segments([0, 1, 0] + [1, 65535, 65535] * 10_000, 65536)


def test_each_frame_has_its_own_values_and_no_other_exists() -> None:
    dataset = image([[[0, 10]], [[20, 30]]], bits_stored=8, NumberOfFrames=2)
    assert display_values(dataset, 1).ravel() == pytest.approx([20 / 255, 30 / 255])
    assert refused(dataset, 2) == "frame_absent"


def test_functional_groups_of_a_frame_come_before_the_shared_ones() -> None:
    # PS3.3 C.7.6.16: an Enhanced CT's rescale shared, its window by frame.
    frames = image([[[0, 100]], [[0, 100]]], NumberOfFrames=2, WindowCenter=5000, WindowWidth=2)
    frames.SharedFunctionalGroupsSequence = item(
        PixelValueTransformationSequence=item(RescaleSlope=2, RescaleIntercept=-100),
        FrameVOILUTSequence=item(WindowCenter=0.5, WindowWidth=201),
    )
    own = Dataset()
    own.FrameVOILUTSequence = item(WindowCenter=100, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    frames.PerFrameFunctionalGroupsSequence = [Dataset(), own]
    assert display_values(frames, 0).ravel() == pytest.approx([0, 1])
    assert display_values(frames, 1).ravel() == pytest.approx([0, 0.5])


def test_floating_point_pixels_span_their_finite_range() -> None:
    dataset = image([[0, 0, 0, 0]])
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.BitsAllocated = 32
    dataset.FloatPixelData = struct.pack("<4f", -1.0, 0.0, 1.0, float("nan"))
    assert display_values(dataset).tolist() == [[0, 0.5, 1, 0]]


def test_a_data_set_without_pixels_is_refused() -> None:
    dataset = image([[0]])
    del dataset.PixelData
    assert refused(dataset) == "no_pixels"


def test_fewer_bytes_than_rows_and_columns_state_are_refused() -> None:
    assert refused(image([[0, 1], [2, 3]], Rows=3)) == "frame_size_disagrees"


def test_a_missing_header_is_refused() -> None:
    dataset = image([[0]])
    del dataset.BitsAllocated
    assert refused(dataset) == "image_header_missing"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("Rows", 0), ("BitsStored", 17), ("SamplesPerPixel", 9), ("HighBit", 14), ("BitsAllocated", 0)],
)
def test_a_header_that_cannot_be_is_refused(keyword: str, value: int) -> None:
    assert refused(image([[0, 1]], bits_stored=12, **{keyword: value})) == "image_header_invalid"


def test_an_unknown_photometric_interpretation_is_refused() -> None:
    assert refused(image([[0]], PhotometricInterpretation="HSV")) in {"photometric_unsupported", "pixels_undecodable"}


def test_a_frame_beyond_all_measure_is_refused_before_it_is_allocated() -> None:
    assert refused(image([[0]], Rows=65535, Columns=65535)) == "frame_too_large"


def jpeg2000_header(rows: int, columns: int) -> bytes:
    size = struct.pack(">HHIIIIIIIIH3B", 41, 0, columns, rows, 0, 0, columns, rows, 0, 0, 1, 7, 1, 1)
    return b"\xff\x4f\xff\x51" + size + bytes(200)


def test_a_codestream_larger_than_its_header_is_refused_without_decoding() -> None:
    dataset = image([[0]], bits_stored=8, syntax=JPEG2000Lossless)
    dataset.PixelData = encapsulate([jpeg2000_header(60000, 60000)])
    tracemalloc.start()
    assert refused(dataset) == "frame_size_disagrees"
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_jpeg_frame_header_that_disagrees_is_refused() -> None:
    frame = b"\xff\xd8\xff\xc0\x00\x0b\x08\xea\x60\xea\x60\x01\x01\x11\x00" + bytes(40)
    dataset = image([[0]], bits_stored=8, syntax=JPEGBaseline8Bit)
    dataset.PixelData = encapsulate([frame])
    assert refused(dataset) == "frame_size_disagrees"


def test_noise_in_place_of_a_codestream_is_refused() -> None:
    dataset = image([[0]], bits_stored=8, syntax=JPEG2000Lossless)
    dataset.PixelData = encapsulate([np.random.default_rng(1).bytes(500)])
    assert refused(dataset) == "pixels_undecodable"


def test_an_rle_frame_that_would_burst_is_refused_without_unpacking() -> None:
    header = struct.pack("<16I", 1, 64, *([0] * 14))
    dataset = image([[0]], bits_stored=8, syntax=RLELossless)
    dataset.PixelData = encapsulate([header + b"\x81\x00" * 3_000_000])
    tracemalloc.start()
    assert refused(dataset) == "frame_size_disagrees"
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


def test_a_value_that_is_no_number_is_a_reason_and_no_crash() -> None:
    dataset = image([[0, 1]])
    dataset.add_new("WindowCenter", "LO", "wide")
    dataset.add_new("WindowWidth", "LO", "open")
    assert refused(dataset) == "element_unreadable"
