"""Preprocessing: the fit, the resampling, what is refused, and the way back to source pixels."""

import numpy as np
import pytest
from PIL import Image

from hilum.errors import Rejected
from hilum.inference.preprocessing import Pixels, Placement, prepare, resize


def plain(values: Pixels, rows: int, columns: int, fit: str = "pad") -> tuple[Pixels, Placement]:
    return prepare(values, rows=rows, columns=columns, fit="pad" if fit == "pad" else "stretch", mean=0.0, std=1.0)


def ramp(rows: int, columns: int) -> Pixels:
    return np.linspace(0, 1, rows * columns, dtype=np.float32).reshape(rows, columns)


def noise(rows: int, columns: int) -> Pixels:
    return np.random.default_rng(3).random((rows, columns), np.float32)


def test_the_tensor_is_one_float32_image_in_one_channel() -> None:
    tensor, _ = plain(ramp(100, 80), 32, 32)
    assert tensor.shape == (1, 1, 32, 32)
    assert tensor.dtype == np.float32


def test_mean_and_std_are_applied_last() -> None:
    values = noise(64, 64)
    bare, _ = plain(values, 32, 32)
    tensor, _ = prepare(values, rows=32, columns=32, fit="pad", mean=0.5, std=0.25)
    np.testing.assert_allclose(tensor, (bare - 0.5) / 0.25, rtol=1e-6)


def test_pad_keeps_the_aspect_and_centres_on_black() -> None:
    values = noise(40, 80)
    values[0, :] = 1
    tensor, placement = plain(values, 64, 64)
    assert (tensor[0, 0, :16] == 0).all()
    assert (tensor[0, 0, 48:] == 0).all()
    assert tensor[0, 0, 16].max() > 0
    assert (placement.row_offset, placement.row_scale, placement.column_scale) == (16, 0.8, 0.8)


def test_stretch_fills_the_input() -> None:
    tensor, placement = plain(noise(40, 80) + 0.5, 64, 64, "stretch")
    assert (placement.row_scale, placement.column_scale) == (1.6, 0.8)
    assert (tensor[0, 0] > 0).mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (3, 7), (2000, 17)])
def test_no_shape_is_too_odd_to_fit(shape: tuple[int, int]) -> None:
    tensor, _ = plain(ramp(*shape), 32, 32)
    assert np.isfinite(tensor).all()


def test_a_window_that_scales_the_display_values_changes_nothing() -> None:
    values = noise(50, 60)
    original, _ = plain(values, 32, 32)
    windowed, _ = plain((0.2 + 0.5 * values).astype(np.float32), 32, 32)
    np.testing.assert_allclose(windowed, original, atol=2e-6)


@pytest.mark.parametrize("target", [(17, 23), (64, 64), (200, 150)])
def test_resize_is_the_antialiased_triangle_filter_that_pillow_has(target: tuple[int, int]) -> None:
    values = noise(90, 70)
    image = Image.fromarray(values).resize((target[1], target[0]), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(resize(values, *target), np.asarray(image), atol=2e-5)


def test_resize_to_the_same_size_is_the_identity() -> None:
    values = noise(33, 21)
    np.testing.assert_allclose(resize(values, 33, 21), values, atol=1e-7)


def test_resize_does_not_alias_a_fine_grid() -> None:
    grid = np.indices((256, 256)).sum(axis=0) % 2
    assert np.ptp(resize(grid.astype(np.float32), 32, 32)[1:-1, 1:-1]) < 1e-5


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((8, 8), np.float32),
        np.full((8, 8), 0.7, np.float32),
        np.full((8, 8), np.nan, np.float32),
        np.array([[0, np.inf], [1, 0]], np.float32),
        np.zeros((0, 8), np.float32),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((1, 20000), np.float32),
    ],
)
def test_an_image_without_usable_pixels_is_refused(values: Pixels) -> None:
    with pytest.raises(Rejected) as caught:
        plain(values, 32, 32)
    assert caught.value.code == "pixels_unusable"


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("shape", [(100, 300), (300, 100), (64, 64), (1000, 999)])
def test_a_spot_in_the_input_is_found_again_in_the_source(shape: tuple[int, int], fit: str) -> None:
    row, column = shape[0] // 3, 2 * shape[1] // 3
    values = np.zeros(shape, np.float32)
    reach = max(2, min(shape) // 20)
    values[row - reach : row + reach, column - reach : column + reach] = 1
    tensor, placement = plain(values, 96, 96, fit)
    down, across = np.unravel_index(int(tensor[0, 0].argmax()), (96, 96))
    found = placement.to_source(float(down) + 0.5, float(across) + 0.5)
    assert found == pytest.approx((row, column), abs=max(shape) / 40 + reach)


def test_a_place_in_the_padding_is_clipped_to_the_image() -> None:
    _, placement = plain(ramp(40, 80), 64, 64)
    assert placement.to_source(0, -5) == (0, 0)
    assert placement.to_source(64, 70) == (40, 80)
