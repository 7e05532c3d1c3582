"""Figures of scores hold the numbers that they were given."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from m2l2_mir.report import page
from m2l2_mir.report.score_figures import Bar, binned_bars, score_bars, score_map, stacked_shares

KINDS = {"model": "model", "control": "control"}


def bar(name: str, estimate: float, kind: str = "model", *, hollow: bool = False) -> Bar:
    return Bar(name=name, estimate=estimate, low=estimate - 0.1, high=estimate + 0.1, kind=kind, hollow=hollow)


def test_bars_have_length_interval_and_mark() -> None:
    drawing = score_bars(
        [bar("a $x$", 0.7), bar("b", 0.2, "control", hollow=True), bar("c", math.nan)], label="accuracy", kinds=KINDS
    )
    [axes] = drawing.axes
    assert [patch.get_width() for patch in axes.patches] == [0.7, 0.2]
    assert [patch.get_facecolor()[3] for patch in axes.patches] == [1, 0]  # the second is hollow
    whiskers = [line.get_xdata() for line in axes.lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(whiskers, [[0.6, 0.8], [0.1, 0.3]])
    assert [text.get_text() for text in axes.texts] == ["0.700", "0.200 n.s.", " not defined"]
    # The first bar is on top, and a name is no formula.
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert "a $x$" in page.figure_svg(drawing, alt="", identifier="x")


def test_bars_beyond_one_are_not_cut() -> None:
    assert score_bars([bar("a", 3.0)], label="", kinds=KINDS).axes[0].get_xlim()[1] > 3.1
    assert score_bars([bar("a", 0.7)], label="", kinds=KINDS).axes[0].get_xlim()[1] == 1


def test_bins_and_shares() -> None:
    lines = [
        {"bin": name, "items": items, "series": series, "estimate": score, "low": math.nan, "high": math.nan}
        for name, items, scores in (("2", 5, (0.1, 0.2)), ("3", 7, (0.3, 0.4)))
        for series, score in zip(("exact", "chroma"), scores, strict=True)
    ]
    [axes] = binned_bars(pd.DataFrame(lines), label="", x_label="").axes
    assert [patch.get_height() for patch in axes.patches] == [0.1, 0.3, 0.2, 0.4]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2\n5", "3\n7"]
    shares = pd.DataFrame({"correct": [0.5, 0.25], "other": [0.5, 0.75]}, index=["a", "b"])
    [axes] = stacked_shares(shares, label="").axes
    ends = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert ends == [(0, 0.5), (0, 0.25), (0.5, 1), (0.25, 1)]


def test_map_prints_numbers_and_shades_by_strength() -> None:
    numbers = pd.DataFrame({"Key": [0.5, math.nan], "Pitch": [0.75, 0.25]}, index=["slot 1", "slot 2"])
    [axes] = score_map(numbers, numbers.fillna(0)).axes
    assert [text.get_text() for text in axes.texts] == ["0.500", "0.750", "0.250"]
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array())[..., 3], [[0.5, 0.75], [0, 0.25]])
    [axes] = score_map(numbers - 0.6, (numbers - 0.6).fillna(0), signed=True).axes
    pixels = np.asarray(axes.images[0].get_array())
    assert axes.texts[0].get_text() == "-0.100"
    assert pixels[0, 0, 2] > pixels[0, 0, 0]  # a loss is blue
    assert pixels[0, 1, 0] > pixels[0, 1, 2]


def test_file_is_on_white_paper_and_alike_each_time() -> None:
    drawings = [page.figure_file(score_bars([bar("a <b>", 0.7)], label="x", kinds=KINDS)) for _ in range(2)]
    assert drawings[0] == drawings[1]
    text = drawings[0].decode()
    assert 'fill="#ffffff"' in text
    assert "a &lt;b&gt;" in text
    assert "#010203" not in text  # place-holder of the ink
    assert "var(--" not in text
