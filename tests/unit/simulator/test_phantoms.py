"""Phantoms: the same seed draws the same image, the truth is where the image says, and kinds hold."""

import numpy as np
import pytest

from hilum.simulator.phantoms import Kind, draw

SIDE = 192


def test_a_seed_draws_one_image_and_another_seed_another() -> None:
    first, again, other = (
        draw(5, rows=SIDE, columns=SIDE),
        draw(5, rows=SIDE, columns=SIDE),
        draw(6, rows=SIDE, columns=SIDE),
    )
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert (first.pixels != other.pixels).any()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("pneumothorax", [True, False])
def test_every_kind_is_drawn_with_and_without_pneumothorax(kind: Kind, pneumothorax: bool) -> None:
    phantom = draw(11, pneumothorax=pneumothorax, kind=kind, rows=SIDE, columns=SIDE)
    assert (phantom.kind, phantom.truth.pneumothorax) == (kind, pneumothorax)
    assert phantom.pixels.dtype == np.uint16
    assert phantom.pixels.shape == (SIDE, SIDE)
    assert phantom.pixels.max() < 2**phantom.bits_stored
    assert np.ptp(phantom.pixels) > 2000
    assert phantom.truth.mask.any() == pneumothorax
    assert (phantom.truth.box is None) == (phantom.truth.side is None) == (not pneumothorax)


def test_the_box_bounds_the_mask() -> None:
    truth = draw(3, pneumothorax=True, kind=Kind.PLAIN, rows=SIDE, columns=SIDE).truth
    assert truth.box is not None
    row0, column0, row1, column1 = truth.box
    assert truth.mask[row0:row1, column0:column1].sum() == truth.mask.sum()
    assert truth.mask[row0].any()
    assert truth.mask[row1 - 1].any()


@pytest.mark.parametrize("seed", range(20, 26))
def test_the_air_lies_on_its_side_of_the_patient(seed: int) -> None:
    truth = draw(seed, pneumothorax=True, kind=Kind.PLAIN, rows=SIDE, columns=SIDE).truth
    centre = np.argwhere(truth.mask)[:, 1].mean()
    assert (centre < SIDE / 2) == (truth.side == "right")  # the patient's right is on the image's left


@pytest.mark.parametrize("seed", range(30, 36))
def test_pleural_air_is_darker_than_the_other_lung_at_its_mirror_place(seed: int) -> None:
    with_air = draw(seed, pneumothorax=True, kind=Kind.PLAIN, rows=SIDE, columns=SIDE)
    mask = with_air.truth.mask
    mirrored = mask[:, ::-1]
    assert with_air.display[mask].mean() < with_air.display[mirrored].mean()


def test_monochrome1_is_the_same_picture_stored_the_other_way_about() -> None:
    plain = draw(8, pneumothorax=False, kind=Kind.PLAIN, rows=SIDE, columns=SIDE)
    inverted = draw(8, pneumothorax=False, kind=Kind.MONOCHROME1, rows=SIDE, columns=SIDE)
    assert inverted.photometric_interpretation == "MONOCHROME1"
    np.testing.assert_array_equal(4095 - inverted.pixels, plain.pixels)
    np.testing.assert_allclose(inverted.display, plain.display, atol=1e-6)


def test_a_clipped_field_is_black_outside_the_beam() -> None:
    phantom = draw(9, kind=Kind.CLIPPED, rows=SIDE, columns=SIDE)
    edges = [phantom.display[0], phantom.display[-1], phantom.display[:, 0], phantom.display[:, -1]]
    assert min(edge.max() for edge in edges) < 0.06


def test_a_blurred_phantom_has_softer_edges() -> None:
    def sharpness(kind: Kind) -> float:
        display = draw(10, pneumothorax=True, kind=kind, rows=SIDE, columns=SIDE).display
        return float(np.percentile(np.abs(np.diff(display, axis=1)), 99))

    assert sharpness(Kind.BLURRED) < 0.7 * sharpness(Kind.PLAIN)


def test_the_label_does_not_depend_on_the_kind() -> None:
    drawn = [draw(seed, rows=48, columns=48) for seed in range(150)]
    by_kind = {kind: [p.truth.pneumothorax for p in drawn if p.kind is kind] for kind in Kind}
    assert all(0.1 < sum(labels) / len(labels) < 0.9 for labels in by_kind.values())


def test_rows_and_columns_may_differ() -> None:
    assert draw(1, rows=160, columns=128).pixels.shape == (160, 128)
