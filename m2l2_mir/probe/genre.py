"""Metrics of classification into genres, or into any other classes: instruments, dance types.

Conventions
-----------
* Labels are compared for equality; any kind that can be sorted will do.
* ``macro_f1`` averages F1 over every class that occurs among references or estimates, as scikit-learn does;
  ``balanced_accuracy`` averages recall over classes that occur among references.
* Probabilities are [items, classes] with the classes of the columns beside them. An item whose true class has no
  column, because training had none of it, cannot be right and counts in full.
* ``brier`` is the sum over classes of the squared difference between probability and truth, 0 to 2 [1]_.
* ``ece`` is the expected calibration error: the confidence (highest probability) and accuracy of items in 15 bins of
  equal width, their differences weighted by items [2]_. It rises with fewer items, even of a calibrated read-out:
  compare rows of the same items.

References
----------
.. [1] G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78(1), 1950.
.. [2] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from m2l2_mir.errors import InputError
from m2l2_mir.probe.pairs import label_pairs

__all__ = ["PRIMARY", "calibration_error", "confusion", "evaluate", "per_item", "reliability", "validate"]

PRIMARY = "accuracy"
CALIBRATION_BINS = 15

_TOLERANCE = 1e-3  # by which probabilities in single precision may miss a sum of 1


def validate(
    reference: ArrayLike,
    estimated: ArrayLike,
    probabilities: ArrayLike | None = None,
    classes: ArrayLike | None = None,
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Check labels, and probabilities if there are any.

    Parameters
    ----------
    reference, estimated : array-like [items]
        Labels.
    probabilities : array-like [items, classes], optional
        Each row sums to 1.
    classes : array-like [classes], optional
        Labels of the columns; belongs to `probabilities`.

    Returns
    -------
    tuple of np.ndarray [items]
        References and estimates.

    Raises
    ------
    InputError
        Only one of `probabilities` and `classes` is given, their shapes do not fit or rows do not sum to 1; or as in
        :func:`m2l2_mir.probe.pairs.label_pairs`.
    """
    ours, theirs = label_pairs(reference, estimated)
    if (probabilities is None) != (classes is None):
        raise InputError("probabilities and the classes of their columns go together; give both or neither")
    if probabilities is not None and classes is not None:
        shares, columns = np.asarray(probabilities, dtype=np.float64), np.asarray(classes, dtype=object)
        if shares.shape != (len(ours), len(columns)):
            raise InputError(
                f"probabilities are {list(shares.shape)} for {len(ours)} items and {len(columns)} classes; "
                "give [items, classes]"
            )
        if not (np.abs(shares.sum(axis=1) - 1) < _TOLERANCE).all() or not (shares >= 0).all():
            raise InputError(
                "probabilities of an item are nan, negative or do not sum to 1; give those of predict_proba"
            )
    return ours, theirs


def per_item(
    reference: ArrayLike,
    estimated: ArrayLike,
    probabilities: ArrayLike | None = None,
    classes: ArrayLike | None = None,
) -> pd.DataFrame:
    """Score each item.

    Parameters
    ----------
    reference, estimated, probabilities, classes
        See :func:`validate`.

    Returns
    -------
    pandas.DataFrame
        One row an item: ``accuracy`` (0 or 1) and, given probabilities, ``brier``.

    Examples
    --------
    >>> per_item(["jig", "reel"], ["jig", "jig"], [[0.75, 0.25], [0.5, 0.5]], ["jig", "reel"]).to_numpy().tolist()
    [[1.0, 0.125], [0.0, 0.5]]
    """
    ours, theirs = validate(reference, estimated, probabilities, classes)
    scores = pd.DataFrame({"accuracy": ours == theirs}, dtype=np.float64)
    if probabilities is not None:
        shares = np.asarray(probabilities, dtype=np.float64)
        truth = ours[:, None] == np.asarray(classes, dtype=object)[None]
        # A true class without a column had probability 0, which is off by 1.
        scores["brier"] = np.sum((shares - truth) ** 2, axis=1) + ~truth.any(axis=1)
    return scores


def evaluate(
    reference: ArrayLike,
    estimated: ArrayLike,
    probabilities: ArrayLike | None = None,
    classes: ArrayLike | None = None,
) -> dict[str, float]:
    """Average over items and over classes.

    Parameters
    ----------
    reference, estimated, probabilities, classes
        See :func:`validate`.

    Returns
    -------
    dict
        The means of :func:`per_item`, ``macro_f1``, ``balanced_accuracy`` and, given probabilities, ``ece``.

    Examples
    --------
    >>> scores = evaluate(["jig", "jig", "jig", "reel"], ["jig", "jig", "jig", "jig"])
    >>> {name: round(score, 3) for name, score in scores.items()}
    {'accuracy': 0.75, 'macro_f1': 0.429, 'balanced_accuracy': 0.5}
    """
    ours, theirs = validate(reference, estimated, probabilities, classes)
    scores = {str(name): float(m) for name, m in per_item(ours, theirs, probabilities, classes).mean().items()}
    _, true, guessed = _numbered(ours, theirs)
    scores["macro_f1"] = float(f1_score(true, guessed, average="macro", zero_division=0))
    # Not balanced_accuracy_score: it warns of estimates in a class that no reference has, which is legal here.
    recall = recall_score(true, guessed, labels=np.unique(true), average="macro", zero_division=0)
    scores["balanced_accuracy"] = float(recall)
    if probabilities is not None and classes is not None:
        scores["ece"] = calibration_error(reliability(reference, probabilities, classes))
    return scores


def confusion(reference: ArrayLike, estimated: ArrayLike) -> pd.DataFrame:
    """Count estimated classes by true class.

    Parameters
    ----------
    reference, estimated : array-like [items]
        Labels.

    Returns
    -------
    pandas.DataFrame [classes, classes]
        Rows are true classes, columns estimated ones; all that occur, sorted.

    Examples
    --------
    >>> confusion(["jig", "jig", "reel"], ["jig", "reel", "reel"]).to_numpy().tolist()
    [[1, 1], [0, 1]]
    """
    names, true, guessed = _numbered(*validate(reference, estimated))
    counts = confusion_matrix(true, guessed, labels=np.arange(len(names)))
    return pd.DataFrame(counts, pd.Index(names, name="reference"), pd.Index(names, name="estimated"))


def reliability(
    reference: ArrayLike, probabilities: ArrayLike, classes: ArrayLike, *, bins: int = CALIBRATION_BINS
) -> pd.DataFrame:
    """Accuracy by confidence, of the most probable class: the reliability diagram.

    Parameters
    ----------
    reference : array-like [items]
        Labels.
    probabilities : array-like [items, classes]
    classes : array-like [classes]
        Labels of the columns.
    bins
        Of equal width between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        One row for each bin that has items, by the number of the bin: ``items``, mean ``confidence``, ``accuracy``.

    Raises
    ------
    InputError
        As in :func:`validate`.

    Examples
    --------
    >>> table = reliability(["a", "a", "b"], [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]], ["a", "b"])
    >>> table.round(3).to_dict("records")
    [{'items': 3, 'confidence': 0.9, 'accuracy': 0.667}]
    """
    validate(reference, reference, probabilities, classes)
    shares = np.asarray(probabilities, dtype=np.float64)
    confidence = shares.max(axis=1)
    likeliest = np.asarray(classes, dtype=object)[shares.argmax(axis=1)]
    number = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)  # the upper bound belongs to the bin
    table = pd.DataFrame({"confidence": confidence, "accuracy": (likeliest == np.asarray(reference, object)) * 1.0})
    groups = table.groupby(number)
    means = groups.mean().rename_axis("bin")
    means.insert(0, "items", groups.size())
    return means


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error, from the table of :func:`reliability`.

    >>> calibration_error(reliability(["a", "b"], [[0.9, 0.1], [0.9, 0.1]], ["a", "b"]))
    0.4
    """
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float((gaps * table["items"]).sum() / table["items"].sum())


def _numbered(
    ours: NDArray[np.object_], theirs: NDArray[np.object_]
) -> tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.int64]]:
    """Classes that occur, sorted, and labels as numbers among them: scikit-learn takes no labels of type object."""
    names, numbers = np.unique(np.concatenate([ours, theirs]), return_inverse=True)
    return names, numbers[: len(ours)], numbers[len(ours) :]
