"""What estimates look like: figures and captions of hand-worked cases."""

from __future__ import annotations

import numpy as np
import pandas as pd

from m2l2_mir.probe.key import FIFTHS
from m2l2_mir.probe.task_figures import task_figures


def items(reference, estimated, **more) -> pd.DataFrame:
    """One seed, every track a group of its own."""
    tracks = [f"t{number}" for number in range(len(reference))]
    columns = {"seed": 0, "track_id": tracks, "group": tracks, "probabilities": None, **more}
    return pd.DataFrame({"reference": reference, "estimated": estimated, **columns})


def test_key() -> None:
    table = items(["C major", "C major", "C major", "A minor"], ["C major", "G major", "A minor", "E minor"])
    [confusion] = task_figures("key", table, [])
    assert confusion.caption.startswith("25% of the keys are right, 50% a fifth off (beside the diagonal), 25% the rel")
    pixels = np.asarray(confusion.figure.axes[0].images[0].get_array())[..., 3]
    line = pixels[FIFTHS.index("C major")]
    np.testing.assert_allclose(line[[FIFTHS.index(key) for key in ("C major", "G major", "A minor")]], 1 / 3)
    assert FIFTHS.index("G major") == FIFTHS.index("C major") + 1


def test_pitch() -> None:
    errors, register = task_figures("pitch", items([60, 60, 60, 48], [60, 60, 72, 48]), [])
    assert errors.caption.startswith("75% of 4 estimates are exact, 75% within a semitone and 25% in the wrong octave")
    assert register.caption.startswith("exact is lowest at octave 4 (0.67) and highest at octave 3 (1.00)")
    heights = [patch.get_height() for patch in register.figure.axes[0].patches]
    np.testing.assert_allclose(heights, [1, 2 / 3, 1, 1])  # exact in octaves 3 and 4, then chroma


def test_tempo_bins_rise() -> None:
    tempi, bins = task_figures("tempo", items([200.0, 50, 100, 100], [200.0, 100, 100, 50]), [])
    assert tempi.caption.startswith("50% of 4 estimates lie within 4 % of the true tempo, 50% more on a line")
    [axes] = bins.figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["< 60\n1", "95-120\n2", ">= 190\n1"]
    assert [patch.get_height() for patch in axes.patches] == [0, 0.5, 1, 1, 1, 1]


def test_genre_with_and_without_probabilities() -> None:
    reference, estimated = ["jig", "jig", "reel", "reel"], ["jig", "jig", "jig", "reel"]
    [confusion] = task_figures("genre", items(reference, estimated), ["jig", "reel"])
    assert confusion.caption == (
        "jig is named best (100% of its clips), reel worst (50%); the most frequent error takes reel for jig (50%)"
    )
    sure = [np.array([1.0, 0.0])] * 3 + [np.array([0.0, 1.0])]
    _, calibration = task_figures("genre", items(reference, estimated, probabilities=sure), ["jig", "reel"])
    assert calibration.caption.startswith(
        "the read-out is too sure by 0.25 on average, its expected calibration error 0.25"
    )


def test_all_right_says_so() -> None:
    _, register = task_figures("pitch", items([60, 48], [60, 48]), [])
    assert register.caption.startswith("exact is 1.00 throughout")
    [confusion] = task_figures("genre", items(["jig", "reel"], ["jig", "reel"]), ["jig", "reel"])
    assert confusion.caption == "100% of the clips are right in every class"
