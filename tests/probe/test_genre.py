"""Classification metrics against scikit-learn, worked cases and a read-out of known calibration."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, f1_score

from m2l2_mir.errors import InputError
from m2l2_mir.probe import genre

CLASSES = ["hornpipe", "jig", "polka", "reel"]


def _drawn(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """References drawn from the very probabilities: calibrated. -> references, estimates, probabilities."""
    probabilities = rng.dirichlet(np.full(len(CLASSES), 0.5), count)
    reference = np.array([rng.choice(CLASSES, p=row) for row in probabilities])
    return reference, np.array(CLASSES)[probabilities.argmax(axis=1)], probabilities


def test_against_scikit_learn(rng: np.random.Generator) -> None:
    reference, estimated, probabilities = _drawn(rng, 300)
    scores = genre.evaluate(reference, estimated, probabilities, CLASSES)
    assert scores["accuracy"] == np.mean(reference == estimated)
    assert scores["macro_f1"] == pytest.approx(f1_score(reference, estimated, average="macro"))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(reference, estimated))
    squared = brier_score_loss(reference, probabilities, labels=CLASSES, scale_by_half=False)
    assert scores["brier"] == pytest.approx(squared)
    assert genre.PRIMARY in scores


def test_calibration_error_of_known_read_outs(rng: np.random.Generator) -> None:
    reference, estimated, probabilities = _drawn(rng, 20_000)
    calibrated = genre.evaluate(reference, estimated, probabilities, CLASSES)
    assert calibrated["ece"] < 0.02
    # Certain every time, and right as often as before: the error is the share that is wrong.
    certain = np.eye(len(CLASSES))[probabilities.argmax(axis=1)]
    overconfident = genre.evaluate(reference, estimated, certain, CLASSES)
    assert overconfident["ece"] == pytest.approx(1 - overconfident["accuracy"])
    assert overconfident["brier"] == pytest.approx(2 * (1 - overconfident["accuracy"]))


def test_reliability_bins() -> None:
    # 0.6 is the upper bound of the ninth of 15 bins and belongs to it; 0.61 lies in the tenth.
    probabilities = [[0.6, 0.4], [0.6, 0.4], [0.61, 0.39], [0.0, 1.0]]
    table = genre.reliability(["a", "b", "a", "b"], probabilities, ["a", "b"])
    assert table.index.tolist() == [8, 9, 14]
    assert table["items"].tolist() == [2, 1, 1]
    assert table["accuracy"].tolist() == [0.5, 1, 1]
    scores = genre.evaluate(["a", "b", "a", "b"], ["a", "a", "a", "b"], probabilities, ["a", "b"])
    assert scores["ece"] == pytest.approx((2 * 0.1 + 0.39 + 0) / 4)


def test_a_class_that_training_had_none_of() -> None:
    scores = genre.per_item(["polka", "jig"], ["jig", "jig"], [[0.8, 0.2], [0.8, 0.2]], ["jig", "reel"])
    assert scores["brier"].tolist() == pytest.approx([0.64 + 0.04 + 1, 0.04 + 0.04])
    means = genre.evaluate(["jig", "jig"], ["jig", "march"])
    assert means["balanced_accuracy"] == 0.5  # an estimated class that no reference has does not count
    assert means["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_confusion_takes_numbers_and_text() -> None:
    table = genre.confusion([3, 1, 1], [1, 1, 2])
    assert table.index.tolist() == table.columns.tolist() == [1, 2, 3]
    assert table.to_numpy().tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("probabilities", "classes", "message"),
    [
        ([[0.5, 0.5]], None, "give both or neither"),
        ([[0.5, 0.5]], ["a"], r"\[1, 2\] for 1 items and 1 classes"),
        ([[0.5, 0.6]], ["a", "b"], "do not sum to 1"),
        ([[np.nan, 1.0]], ["a", "b"], "nan, negative"),
        ([[-0.5, 1.5]], ["a", "b"], "nan, negative"),
    ],
)
def test_bad_probabilities(probabilities: list, classes: list | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        genre.evaluate(["a"], ["a"], probabilities, classes)
