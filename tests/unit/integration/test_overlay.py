"""The picture: the image at its window, the heat where the network looked, a box, a banner, and no identity."""

from io import BytesIO

import numpy as np
from PIL import Image

from hilum.integration.adapters.overlay import Mark, banner, draw, png
from hilum.integration.domain.result import Box
from scenes.results import make_algorithm

GREY = np.full((300, 200), 0.5, dtype=np.float32)


def heat() -> np.ndarray:
    activation = np.zeros((30, 20), dtype=np.float32)
    activation[5:10, 5:10] = 3.0
    return activation


def test_a_small_image_is_enlarged_and_a_large_one_reduced_in_proportion() -> None:
    assert draw(GREY, [], "x").shape[1] == round(200 * 640 / 300)
    assert draw(np.zeros((4000, 2000), dtype=np.float32), [], "x").shape[1] == 640


def test_grey_stays_grey_where_nothing_was_found() -> None:
    picture = draw(GREY, [Mark("a", None, heat())], "x")
    assert picture[600, 400].tolist() == [128, 128, 128]


def test_heat_is_red_to_yellow_where_the_network_looked() -> None:
    red, green, blue = draw(GREY, [Mark("a", None, heat())], "x")[160, 160].tolist()
    assert red > 170
    assert green > 150
    assert blue < 80


def test_a_flat_or_broken_activation_colours_nothing() -> None:
    plain = draw(GREY, [], "x")
    for activation in (np.zeros((4, 4), np.float32), np.full((4, 4), np.nan, np.float32), -np.ones((4, 4), np.float32)):
        assert np.array_equal(draw(GREY, [Mark("a", None, activation)], "x"), plain)


def test_the_box_is_drawn_at_its_place_in_source_pixels() -> None:
    picture = draw(GREY, [Mark("a", Box(150, 50, 240, 150))], "x")
    scale = 640 / 300
    edge = picture[round(200 * scale), round(50 * scale) - 2 : round(50 * scale) + 4]
    assert [80, 255, 255] in edge.tolist()
    assert picture[round(200 * scale), round(100 * scale)].tolist() == [128, 128, 128]


def test_a_box_beyond_the_image_stays_inside_it() -> None:
    assert draw(GREY, [Mark("a long label of a finding", Box(-50, -50, 900, 900))], "x").shape[1] == 427


def test_the_banner_stands_below_the_image_and_wraps() -> None:
    one, two = draw(GREY, [], "short"), draw(GREY, [], "a notice that is far too long for one line " * 3)
    assert one.shape[0] > 640
    assert two.shape[0] > one.shape[0]
    assert np.array_equal(one[:640], two[:640])
    assert one[640:].max() == 255


def test_the_banner_names_the_algorithm_its_version_and_that_it_is_a_demonstration() -> None:
    assert banner(make_algorithm()) == "Hilum pneumothorax-phantom 1.0.0 AI. Demonstration. Not for clinical use."


def test_the_png_is_the_same_picture_and_the_same_bytes() -> None:
    picture = draw(GREY, [Mark("a", Box(10, 10, 50, 50), heat())], "x")
    assert np.array_equal(np.asarray(Image.open(BytesIO(png(picture)))), picture)
    assert png(picture) == png(draw(GREY, [Mark("a", Box(10, 10, 50, 50), heat())], "x"))
