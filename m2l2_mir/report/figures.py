"""Figures of summary embeddings: heat maps, a 2-D map, a similarity matrix, a track in time.

Conventions
-----------
* A function takes arrays and returns a `matplotlib.figure.Figure`; sizes are in pixels, see
  :mod:`m2l2_mir.report.drawing`.
* One diverging scale, centred at 0: blue is negative, rust positive, and strength is opacity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from m2l2_mir.report.drawing import (
    INK,
    MAGNITUDE,
    MUTED,
    PAPER,
    RULE,
    SMALL_TEXT,
    TEXT,
    canvas,
    diverging,
    image,
    shaded,
)

GROUP_COLOURS = ("#2a9187", "#a2699f", "#bd8f2c", "#5f7f9e", "#c46f8b", "#7f963f", "#8d7565", "#4e9fc4")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def colour_limit(values: np.ndarray) -> float:
    """Value at which a shared scale saturates: the 99.5th percentile, lest one cell pale all others."""
    return max(float(np.quantile(np.abs(values), 0.995)), 1e-6)


def heat_map(matrix: np.ndarray, *, limit: float, bare: bool = False, width: float = 440.0) -> Figure:
    """Draw one K x d matrix, embeddings down, dimensions across.

    Parameters
    ----------
    matrix : np.ndarray [shape=(K, d)]
    limit : float
        Magnitude at which the colours saturate.
    bare : bool
        No axis labels: a cell of small multiples.
    width : float
        In pixels.

    Returns
    -------
    Figure
    """
    rows, columns = matrix.shape
    margins = (1.0, 1.0, 1.0, 1.0) if bare else (46.0, 4.0, 34.0, 4.0)  # left, right, bottom, top
    image_height = (width - margins[0] - margins[1]) * min(0.5, 2.0 * rows / columns)
    figure, axes = canvas(width, image_height + margins[2] + margins[3], margins)
    image(axes, diverging(matrix, limit))
    if bare:
        axes.set_xticks([])
        axes.set_yticks([])
        return figure
    axes.set_yticks(range(rows), [str(row + 1) for row in range(rows)])
    steps = [0, *range(max(1, columns // 4) - 1, columns, max(1, columns // 4))]
    axes.set_xticks(steps, [str(step + 1) for step in steps])
    axes.set_xlabel("dimension", color=MUTED, fontsize=TEXT)
    axes.set_ylabel("embedding", color=MUTED, fontsize=TEXT)
    return figure


def small_multiples(matrices: np.ndarray, *, limit: float | None = None, width: float = 384.0) -> list[Figure]:
    """Draw many K x d matrices on one colour scale, one bare figure each, for a page to lay out in a grid.

    Parameters
    ----------
    matrices : np.ndarray [shape=(n, K, d)]
    limit : float, optional
        Magnitude at which the colours saturate. Default: :func:`colour_limit` of all of them.
    width : float
        Of one figure, in pixels.
    """
    shared = colour_limit(matrices) if limit is None else limit
    return [heat_map(matrix, limit=shared, bare=True, width=width) for matrix in matrices]


def colour_scale(limit: float, *, label: str, width: float = 260.0) -> Figure:
    """Draw the key to the diverging scale."""
    figure, axes = canvas(width, 46.0, (14.0, 14.0, 34.0, 2.0))
    image(axes, diverging(np.linspace(-limit, limit, 129)[None], limit))
    axes.set_yticks([])
    axes.set_xticks([0, 64, 128], [f"−{limit:.2g}", "0", f"+{limit:.2g}"])
    axes.set_xlabel(label, color=MUTED, fontsize=SMALL_TEXT, labelpad=1)
    return figure


def plane_map(
    points: np.ndarray,
    shares: np.ndarray,
    *,
    labels: Sequence[str],
    colours: Sequence[int],
    markers: Sequence[int],
    width: float = 460.0,
) -> Figure:
    """Draw tracks on the plane of their first two principal components.

    Parameters
    ----------
    points, shares : np.ndarray [shape=(n, 2)], [shape=(2,)]
        From :func:`m2l2_mir.report.neighbours.principal_plane`.
    labels : sequence of n str
        Short ones; each is put where it meets the fewest points.
    colours, markers : sequence of n int
        Indices into ``GROUP_COLOURS`` and ``MARKERS``.
    width : float
        In pixels.

    Returns
    -------
    Figure
        Both axes on one scale, for distances to be comparable.
    """
    figure, axes = canvas(width, width * 0.92, (24.0, 10.0, 34.0, 10.0))
    for (x, y), colour, marker in zip(points, colours, markers, strict=True):
        axes.plot(
            x,
            y,
            marker=MARKERS[marker % len(MARKERS)],
            color=GROUP_COLOURS[colour % len(GROUP_COLOURS)],
            markersize=10,
            markeredgecolor=PAPER,
            markeredgewidth=1.2,
        )
    centre = (points.max(axis=0) + points.min(axis=0)) / 2
    reach = max(float((points.max(axis=0) - points.min(axis=0)).max()) / 2, 1e-6) * 1.14
    axes.set_xlim(centre[0] - reach, centre[0] + reach)
    axes.set_ylim(centre[1] - reach * 0.92, centre[1] + reach * 0.92)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xticklabels([])
    axes.set_yticklabels([])
    axes.set_xlabel(f"first component, {shares[0]:.0%} of the variance", color=MUTED, fontsize=TEXT)
    axes.set_ylabel(f"second component, {shares[1]:.0%}", color=MUTED, fontsize=TEXT)
    step = 2 * reach / width  # data units a pixel
    for label, place in zip(labels, _label_places(points / step) * step, strict=True):
        axes.text(float(place[0]), float(place[1]), label, color=INK, fontsize=TEXT, ha="center", va="center")
    return figure


def similarity_matrix(
    similarity: np.ndarray,
    *,
    limit: float,
    labels: Sequence[str],
    colours: Sequence[int],
    width: float = 460.0,
) -> Figure:
    """Draw a cosine-similarity matrix, its labels in the colour of their group, its diagonal left out.

    Parameters
    ----------
    similarity : np.ndarray [shape=(n, n)]
        In [-1, 1].
    limit : float
        Magnitude at which the colours saturate.
    labels : sequence of n str
        Short ones.
    colours : sequence of n int
        Indices into ``GROUP_COLOURS``.
    width : float
        In pixels.
    """
    figure, axes = canvas(width, width - 8.0, (26.0, 6.0, 22.0, 2.0))
    image(axes, diverging(similarity * ~np.eye(len(labels), dtype=bool), limit))
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for text, colour in zip(ticks, colours, strict=True):
            text.set_color(GROUP_COLOURS[colour % len(GROUP_COLOURS)])
            text.set_fontweight("bold")
    # White-space between cells, drawn as rules of the page's own colour.
    axes.set_xticks(np.arange(0.5, len(labels) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(labels) - 1), minor=True)
    axes.grid(which="minor", color=PAPER, linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    return figure


def evolution(chunks: np.ndarray, *, chunk_seconds: float | None = None, width: float = 440.0) -> Figure:
    """Draw how far each embedding of each chunk lies from the track's mean.

    Parameters
    ----------
    chunks : np.ndarray [shape=(chunks, K, d)]
    chunk_seconds : float, optional
        Length of a chunk, for a time axis in seconds. Default: chunk numbers.
    width : float
        In pixels.

    Returns
    -------
    Figure
        Embeddings down, time across; opacity is the root-mean-square distance over dimensions.
    """
    distance = np.sqrt(np.square(chunks - chunks.mean(axis=0)).mean(axis=2)).T  # (K, chunks)
    figure, axes = canvas(width, 310.0, (46.0, 4.0, 34.0, 4.0))
    strength = distance / max(float(distance.max()), 1e-9)
    image(axes, shaded(strength, np.full(strength.shape, MAGNITUDE)))
    rows, columns = distance.shape
    axes.set_yticks(range(rows), [str(row + 1) for row in range(rows)])
    axes.set_ylabel("embedding", color=MUTED, fontsize=TEXT)
    if chunk_seconds is None:
        axes.set_xticks(range(0, columns, max(1, columns // 8)))
        axes.set_xticklabels([str(int(tick) + 1) for tick in axes.get_xticks()])
        axes.set_xlabel("chunk", color=MUTED, fontsize=TEXT)
    else:
        seconds = np.arange(0, columns * chunk_seconds, max(1, round(columns * chunk_seconds / 6)))
        axes.set_xticks(seconds / chunk_seconds - 0.5, [f"{second:g}" for second in seconds])
        axes.set_xlabel("seconds", color=MUTED, fontsize=TEXT)
    return figure


def _label_places(points: np.ndarray) -> np.ndarray:
    """Place labels, in pixels, beside their points, away from other points and earlier labels."""
    angles = np.deg2rad([90, 0, 180, 270, 45, 135, 225, 315])
    offsets = 14.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    taken = [tuple(point) for point in points]
    places = []
    for point in points:
        candidates = point + offsets
        others = np.array([other for other in taken if other != tuple(point)] or [(np.inf, np.inf)])
        gaps = np.linalg.norm(candidates[:, None] - others[None], axis=2).min(axis=1)
        # Beyond 24 pixels farther is no better: the first direction, straight above, then wins.
        best = candidates[np.minimum(gaps, 24.0).argmax()]
        places.append(best)
        taken.append(tuple(best))
    return np.array(places).reshape(-1, 2)
