"""Key metrics against mir_eval, worked cases and the symmetries of the circle of fifths."""

from __future__ import annotations

import itertools

import mir_eval
import numpy as np
import pytest

from m2l2_mir.dataset.labels import KEYS, tonic_and_mode
from m2l2_mir.errors import InputError
from m2l2_mir.probe import key

PAIRS = tuple(zip(*itertools.product(KEYS, KEYS), strict=True))


def test_weighted_scores_of_all_pairs() -> None:
    scores = key.per_item(*PAIRS)
    expected = [mir_eval.key.weighted_score(*pair) for pair in zip(*PAIRS, strict=True)]
    assert scores["weighted"].tolist() == expected
    two_sided = scores["weighted_two_sided"].to_numpy().reshape(24, 24)
    np.testing.assert_array_equal(two_sided, two_sided.T)
    assert sorted(two_sided[0])[-5:] == [0.2, 0.3, 0.5, 0.5, 1.0]


def test_every_estimate_stands_in_one_relation() -> None:
    scores = key.per_item(*PAIRS)
    shares = scores[["accuracy", *key.RELATIONS[1:]]]
    assert (shares.sum(axis=1) == 1).all()
    assert shares.sum().tolist() == [24, 24, 24, 24, 24, 24 * 19]
    assert (scores["fifth"] == scores["fifth_up"] + scores["fifth_down"]).all()
    assert (scores["accuracy"] == scores["tonic"] * scores["mode"]).all()


@pytest.mark.parametrize(
    ("reference", "estimated", "relation"),
    [
        ("Eb major", "Bb major", "fifth_up"),
        ("C major", "F major", "fifth_down"),
        ("B minor", "F# minor", "fifth_up"),
        ("A minor", "C major", "relative"),
        ("Eb major", "C minor", "relative"),
        ("C major", "Eb minor", "other"),
        ("F# minor", "F# major", "parallel"),
        ("C major", "G minor", "other"),
    ],
)
def test_relations(reference: str, estimated: str, relation: str) -> None:
    assert key.per_item([reference], [estimated])[relation].tolist() == [1.0]


def test_evaluate_averages_items_and_keys() -> None:
    reference = ["C major"] * 3 + ["A minor"]
    scores = key.evaluate(reference, ["C major", "F major", "A minor", "E minor"])
    assert scores["accuracy"] == 1 / 4
    assert scores["macro_accuracy"] == pytest.approx((1 / 3 + 0) / 2)
    assert scores["weighted"] == pytest.approx((1 + 0 + 0.3 + 0.5) / 4)
    assert scores["weighted_two_sided"] == pytest.approx((1 + 0.5 + 0.3 + 0.5) / 4)
    assert (scores["tonic"], scores["mode"]) == (1 / 4, 3 / 4)
    parallel = key.evaluate(["C major"], ["C minor"])
    assert (parallel["tonic"], parallel["mode"], parallel["accuracy"]) == (1, 0, 0)
    assert key.PRIMARY in scores


def test_confusion_follows_the_circle() -> None:
    for first, second in itertools.pairwise(key.FIFTHS[:12]):
        assert key.per_item([first], [second])["fifth_up"].item() == 1
    for major, minor in zip(key.FIFTHS[:12], key.FIFTHS[12:], strict=True):
        assert key.per_item([major], [minor])["relative"].item() == 1
    table = key.circle_of_fifths_confusion(["D minor", "D minor", "C major"], ["A minor", "D minor", "C major"])
    assert table.loc["D minor", "A minor"] == table.loc["D minor", "D minor"] == table.loc["C major", "C major"] == 1
    assert (table.shape, table.to_numpy().sum(), tuple(table.columns)) == ((24, 24), 3, key.FIFTHS)


def test_transposition(rng: np.random.Generator) -> None:
    before = rng.choice(KEYS, 50)
    shifts = rng.integers(-11, 12, 50)
    tonics = [tonic_and_mode(name) for name in before]
    after = [KEYS[(tonic + n) % 12 + 12 * (mode == "minor")] for (tonic, mode), n in zip(tonics, shifts, strict=True)]
    assert (key.transposition_per_item(before, after, shifts) == 1).all(axis=None)
    assert (key.transposition_per_item(before, after, shifts + 1)["tonic"] == 0).all()
    parallel = key.transposition_per_item(["C major"], ["D minor"], 2)
    assert parallel.to_dict("records") == [{"tonic": 1.0, "mode": 0.0, "key": 0.0}]


@pytest.mark.parametrize(
    ("reference", "estimated", "message"),
    [
        (["C# major"], ["C major"], "'C# major' is not one of the 24"),
        (["C major"], [None], "1 estimated labels are missing"),
        (["C major"] * 2, ["C major"], "2 reference but 1 estimated"),
        ([], [], "no items"),
        ([["C major"]], [["C major"]], r"shapes \[1, 1\]"),
    ],
)
def test_bad_input(reference: list, estimated: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        key.evaluate(reference, estimated)


@pytest.mark.parametrize("semitones", [1.5, [1, 2, 3], np.nan])
def test_bad_shift(semitones: object) -> None:
    with pytest.raises(InputError, match="semitones is"):
        key.transposition_per_item(["C major"] * 2, ["C major"] * 2, semitones)
