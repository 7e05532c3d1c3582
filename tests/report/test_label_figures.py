"""Figures of labels hold the counts, errors and points that they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd

from m2l2_mir.probe.genre import reliability
from m2l2_mir.report.label_figures import confusion_map, error_histogram, reliability_plot, tempo_plot


def test_confusion_shows_shares_of_each_true_class() -> None:
    names = ["jig", "reel", "waltz"]
    counts = pd.DataFrame([[3, 1, 0], [0, 2, 0], [0, 0, 0]], index=names, columns=names)
    [axes] = confusion_map(counts, blocks=[2]).axes
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array())[..., 3], [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    assert [text.get_text() for text in axes.texts] == ["0.75", "0.25", "1.00"]
    assert [text.get_text() for text in axes.get_yticklabels()] == names
    assert [line.get_ydata()[0] for line in axes.lines[:1]] == [1.5]


def test_large_errors_are_counted_at_the_ends() -> None:
    [axes] = error_histogram(np.array([0, 0, 0.4, 12, -40, -24, 30, 1.5]), label="").axes
    heights = {round(patch.get_x() + patch.get_width() / 2): patch.get_height() for patch in axes.patches}
    assert {size: height for size, height in heights.items() if height} == {
        0: 3 / 8,
        2: 1 / 8,
        12: 1 / 8,
        -24: 2 / 8,
        24: 1 / 8,
    }
    colours = {round(patch.get_x() + patch.get_width() / 2): patch.get_facecolor() for patch in axes.patches}
    assert colours[12] == colours[0] != colours[1]


def test_tempi_lie_on_their_lines() -> None:
    reference = np.array([60.0, 90, 120])
    [axes] = tempo_plot(reference, reference * [1, 2, 0.5]).axes
    [points] = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(points.get_xydata(), [[60, 60], [90, 180], [120, 60]])
    ratios = sorted(float(line.get_ydata()[0] / line.get_xdata()[0]) for line in axes.lines if line is not points)
    np.testing.assert_allclose(ratios, [1 / 3, 1 / 2, 1, 2, 3])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_calibration_is_that_of_the_table() -> None:
    table = reliability(["a", "a", "b", "b"], [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]], ["a", "b"])
    [axes] = reliability_plot(table).axes
    [dots] = axes.collections
    np.testing.assert_allclose(dots.get_offsets(), [[0.6, 1], [0.9, 2 / 3]])
    assert dots.get_sizes()[1] == 3 * dots.get_sizes()[0]
