"""What all figures share: a canvas without a frame, inks that follow the reader's theme, pictures shaded by opacity.

Conventions
-----------
* A figure is a `matplotlib.figure.Figure`; pyplot and its state are never used.
* Sizes are in CSS pixels (the figures are drawn at 72 dots an inch), small enough to stay legible when a phone scales
  them down.
* Strength is opacity, so that nothing is the paper, white or black. The ink colours below are place-holders;
  `page.figure_svg` makes them follow the reader's theme, `page.figure_file` those of print.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#010203", "#040506", "#070809", "#0a0b0c"
NEGATIVE, POSITIVE, MAGNITUDE = "#2563a8", "#c2512f", "#7a5195"
TEXT, SMALL_TEXT = 11.0, 10.0


def canvas(width: float, height: float, margins: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """One pair of axes with margins (left, right, bottom, top) in pixels, and no frame."""
    left, right, bottom, top = margins
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_alpha(0.0)
    frame = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    axes = figure.add_axes(frame)
    axes.patch.set_alpha(0.0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=SMALL_TEXT, labelcolor=MUTED, pad=4)
    return figure, axes


def image(axes: Axes, pixels: np.ndarray) -> None:
    """Show RGBA pixels [rows, columns, 4], cells with sharp edges that fill the axes."""
    axes.imshow(pixels, aspect="auto", interpolation="none")


def diverging(values: np.ndarray, limit: float) -> np.ndarray:
    """RGBA picture of signed values, blank at 0 and full at `limit`: blue is negative, rust positive."""
    return shaded(np.clip(np.abs(values) / limit, 0, 1), np.where(values < 0, NEGATIVE, POSITIVE))


def shaded(strength: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """RGBA picture whose opacity is ``strength`` (0 to 1) in the hue of ``colours`` (hex strings)."""
    pixels = np.empty((*strength.shape, 4))
    for colour in np.unique(colours):
        pixels[colours == colour, :3] = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    pixels[..., 3] = strength
    return pixels
