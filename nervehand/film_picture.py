"""Pictures with what is said beneath them, as an animation or as a strip; needs Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from firmware_bridge.errors import NervehandError
from nervehand.film_replay import Moment

_INK, _PAPER, _FAINT, _ACCENT = (34, 37, 42), (246, 247, 249), (198, 203, 210), (25, 135, 148)
_COLOURS = 96
_LETTERS = "TIMRLW"
"""Thumb, index, middle, ring, little, wrist."""

Picture = NDArray[np.uint8]


def captioned(picture: Picture, moment: Moment) -> Image.Image:
    """The picture with its time, what was asked for and decoded, and six bars: filled as far as the hand is flexed,
    with a mark where it should be."""
    image = Image.fromarray(picture)
    width, height = image.size
    band = max(26, height // 9)
    page = Image.new("RGB", (width, height + band), _PAPER)
    page.paste(image, (0, 0))
    draw = ImageDraw.Draw(page)
    large, small = (ImageFont.load_default(size=max(9, round(band * part))) for part in (0.36, 0.29))
    top = height + round(band * 0.09)
    draw.text((8, top), f"{moment.time_s:5.1f} s", _INK, font=large)
    draw.text((8, top + round(band * 0.46)), f"gate {moment.gate}", _INK, font=small)
    at = round(width * 0.26)
    cue = f"cue: {moment.cue}    " if moment.cue else ""
    draw.text((at, top), f"{cue}decoded: {moment.gesture}", _INK, font=large)
    force = float(moment.forces_n[:5].sum())
    draw.text((at, top + round(band * 0.46)), f"grip {force:3.0f} N", _INK, font=small)
    _bars(draw, moment, width, height, band)
    return page


def _bars(draw: ImageDraw.ImageDraw, moment: Moment, width: int, height: int, band: int) -> None:
    step, thick = round(band * 0.44), round(band * 0.24)
    low, high = height + band - round(band * 0.34), height + round(band * 0.10)
    font = ImageFont.load_default(size=max(8, round(band * 0.25)))
    for i, letter in enumerate(_LETTERS):
        left = width - 8 - (6 - i) * step

        def level(position: float) -> int:
            return round(low - (low - high) * min(max(position, 0.0), 1.0))

        draw.rectangle((left, high, left + thick, low), fill=_FAINT)
        at, wanted = (float(abs(values[i])) for values in (moment.positions, moment.wanted))
        if level(at) < low:
            draw.rectangle((left, level(at), left + thick, low), fill=_ACCENT)
        draw.line((left - 2, level(wanted), left + thick + 2, level(wanted)), fill=_INK, width=2)
        draw.text((left + thick / 2, low + 1), letter, _INK, font=font, anchor="ma")


def write_animation(pages: list[Image.Image], path: Path, pictures_per_s: float) -> None:
    """A GIF that runs for ever, with one palette for all of its pictures."""
    some = pages[:: max(1, len(pages) // 6)]
    sheet = Image.new("RGB", (some[0].width, some[0].height * len(some)))
    for i, page in enumerate(some):
        sheet.paste(page, (0, i * page.height))
    palette = sheet.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)
    flat = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    _save(flat[0], path, append_images=flat[1:], duration=round(1000 / pictures_per_s), loop=0, optimize=True)


def write_strip(pages: list[Image.Image], path: Path, columns: int) -> None:
    """All pictures side by side, in rows, as one PNG."""
    width, height = pages[0].size
    rows = -(-len(pages) // columns)
    sheet = Image.new("RGB", (columns * (width + 4) - 4, rows * (height + 4) - 4), (255, 255, 255))
    for i, page in enumerate(pages):
        sheet.paste(page, ((i % columns) * (width + 4), (i // columns) * (height + 4)))
    _save(sheet.quantize(192, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE), path, optimize=True)


def _save(image: Image.Image, path: Path, **options: object) -> None:
    try:
        image.save(path, **options)  # type: ignore[arg-type]  # Pillow's options differ by format
    except OSError as error:
        raise NervehandError(f"{path}: cannot be written ({error.strerror}): choose another place") from error
