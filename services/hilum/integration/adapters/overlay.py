"""The picture that goes beside an image: the image as a viewer shows it, a heat map, a box, and a banner.

Nothing that identifies a patient is drawn. The banner stands below the image, so that it hides no anatomy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hilum.integration.domain.result import Algorithm, Box

Picture = NDArray[np.uint8]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

_SMALLEST, _LARGEST = 640, 1280  # pixels of the longer side: text stays legible, objects stay small
_OPACITY = 0.55
_FAINTEST = 0.2  # activation below this share of the peak is not coloured
_BOX, _SHADOW, _STRIP, _INK = (80, 255, 255), (0, 0, 0), (24, 24, 32), (255, 255, 255)


@dataclass(frozen=True)
class Mark:
    """One finding on the image: its label, its box in source pixels, and its activation over the whole image.

    ``activation`` has any shape; it is stretched over the image, and its own peak is the brightest colour.
    """

    label: str
    box: Box | None = None
    activation: NDArray[np.float32] | None = None


def banner(algorithm: Algorithm) -> str:
    """What is burned in: whose picture this is and that it is not a diagnosis."""
    return f"Hilum {algorithm.name} {algorithm.version} AI. {algorithm.notice}".strip()


def draw(display: NDArray[np.float32], marks: Sequence[Mark], text: str) -> Picture:
    """``display`` (rows, columns), 0 black to 1 white, with ``marks`` and ``text``: (rows', columns', 3) of 8 bits."""
    rows, columns = display.shape
    scale = _scale(max(rows, columns))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    grey = Image.fromarray(np.round(np.clip(display, 0.0, 1.0) * 255).astype(np.uint8)).resize(
        size, Image.Resampling.BILINEAR
    )
    canvas = np.repeat(np.asarray(grey)[:, :, None], 3, axis=2).astype(np.float32)
    for mark in marks:
        if mark.activation is not None:
            canvas = _heated(canvas, mark.activation, size)
    image = Image.fromarray(np.round(canvas).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(16.0, size[0] / 40))
    for mark in marks:
        if mark.box is not None:
            _draw_box(pen, mark.box, scale, size)
    for mark in marks:
        if mark.box is not None:
            _draw_label(pen, mark, scale, size, font)
    return np.asarray(_with_strip(image, text, font))


def png(picture: Picture) -> bytes:
    """The same picture as a PNG file."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


def _scale(longer: int) -> float:
    return min(max(longer, _SMALLEST), _LARGEST) / longer


def _heated(canvas: NDArray[np.float32], activation: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Black through red to yellow, stronger where the network was."""
    heat = np.nan_to_num(np.clip(activation, 0.0, None)).astype(np.float32)
    peak = float(heat.max(initial=0.0))
    if peak <= 0.0:
        return canvas
    spread = np.asarray(Image.fromarray(heat / peak).resize(size, Image.Resampling.BILINEAR))
    share = np.clip((spread - _FAINTEST) / (1.0 - _FAINTEST), 0.0, 1.0)[:, :, None]
    colour = np.concatenate([np.full_like(share, 255.0), 255.0 * share, np.zeros_like(share)], axis=2)
    return (canvas * (1.0 - _OPACITY * share) + colour * _OPACITY * share).astype(np.float32)


def _corners(box: Box, scale: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, right = (min(max(column * scale, 0), size[0] - 1) for column in (box.column0, box.column1))
    top, bottom = (min(max(row * scale, 0), size[1] - 1) for row in (box.row0, box.row1))
    return left, top, max(left, right), max(top, bottom)


def _draw_box(pen: ImageDraw.ImageDraw, box: Box, scale: float, size: tuple[int, int]) -> None:
    corners = _corners(box, scale, size)
    width = max(2, size[0] // 320)
    pen.rectangle(corners, outline=_SHADOW, width=width + 2)
    pen.rectangle(corners, outline=_BOX, width=width)


def _draw_label(pen: ImageDraw.ImageDraw, mark: Mark, scale: float, size: tuple[int, int], font: Font) -> None:
    """Above the box where there is room, else below; always inside the image."""
    if mark.box is None:
        return
    left, top, _, bottom = _corners(mark.box, scale, size)
    _, _, width, height = pen.textbbox((0, 0), mark.label, font=font)
    above = top - height - 6
    place = (max(0, min(left, size[0] - width - 4)), above if above >= 0 else min(bottom + 4, size[1] - height - 4))
    pen.text(place, mark.label, font=font, fill=_BOX, stroke_width=2, stroke_fill=_SHADOW)


def _with_strip(image: Image.Image, text: str, font: Font) -> Image.Image:
    """The image above a dark strip with ``text``, wrapped to its width."""
    lines = _wrapped(text, font, image.width - 16)
    _, _, _, height = font.getbbox("Ag")
    step = round(height * 1.3)
    strip = step * len(lines) + 12
    framed = Image.new("RGB", (image.width, image.height + strip), _STRIP)
    framed.paste(image, (0, 0))
    pen = ImageDraw.Draw(framed)
    for number, line in enumerate(lines):
        pen.text((8, image.height + 6 + number * step), line, font=font, fill=_INK)
    return framed


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
