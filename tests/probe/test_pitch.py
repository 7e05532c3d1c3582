"""Pitch metrics against mir_eval and worked cases."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.probe import pitch


def test_against_raw_pitch_and_raw_chroma_accuracy(rng: np.random.Generator) -> None:
    reference = rng.integers(36, 97, 500)
    estimated = reference + rng.choice([0, 0, 0, 1, -2, 12, -24, 7], 500)
    ours = pitch.evaluate(reference, estimated)
    voiced, cents, estimated_cents = np.ones(500), 100.0 * reference, 100.0 * estimated
    # mir_eval takes errors below 50 cents; whole semitones do not touch that bound
    arguments = (voiced, cents, voiced, estimated_cents)
    assert ours["exact"] == pytest.approx(mir_eval.melody.raw_pitch_accuracy(*arguments))
    assert ours["chroma"] == pytest.approx(mir_eval.melody.raw_chroma_accuracy(*arguments))
    assert ours["octave_error"] == pytest.approx(ours["chroma"] - ours["exact"])


def test_worked_case() -> None:
    scores = pitch.per_item([60, 60, 60, 60, 60], [60.4, 60.5, 58.6, 71.9, 61.5])
    assert scores["exact"].tolist() == [1, 0, 0, 0, 0]
    assert scores["within_semitone"].tolist() == [1, 1, 1, 0, 0]
    assert scores["chroma"].tolist() == [1, 0, 0, 1, 0]
    assert scores["octave_error"].tolist() == [0, 0, 0, 1, 0]
    assert scores["error"].tolist() == pytest.approx([0.4, 0.5, -1.4, 11.9, 1.5])
    means = pitch.evaluate([60, 60], [59, 63])
    assert (means["absolute_error"], means["error"]) == (2, 1)
    assert pitch.PRIMARY in means


@pytest.mark.parametrize(
    ("reference", "estimated", "message"),
    [
        ([60.5], [60], "reference pitch is 60.5"),
        ([128], [60], "reference pitch is 128"),
        (["A4"], ["A4"], "not numbers"),
        ([60, 61], [60, np.nan], "1 estimated labels are not finite, the first at item 1"),
        ([60], [60, 61], "1 reference but 2 estimated"),
    ],
)
def test_bad_input(reference: list, estimated: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pitch.evaluate(reference, estimated)
