"""The fits of one row: every fold of a split once, by a read-out that has seen the training items only.

Nothing here knows of models, audio or files: the functions run in processes of their own.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from threadpoolctl import threadpool_limits

from m2l2_mir.probe.selection import ReadoutWarning
from m2l2_mir.probe.task import READOUTS, Task

__all__ = ["PRIOR", "FoldItems", "Predicted", "fit_folds"]

PRIOR = "prior"  # read-out of the majority row
_SELECTED = ("penalty_", "n_neighbours_", "epochs_")


@dataclass(frozen=True, kw_only=True)
class FoldItems:
    """Positions of items."""

    name: str
    train: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What read-outs said of the test items of all folds, in the order of the folds."""

    items: NDArray[np.intp]
    folds: NDArray[np.object_]
    estimates: NDArray[Any]
    probabilities: NDArray[np.float32] | None  # [items, classes]; None of a regression
    selected: tuple[float, ...]  # by inner folds: penalty, neighbours or epochs, one a fold
    warned: Counter[str]


def fit_folds(
    vectors: NDArray[np.float32],
    targets: NDArray[Any],
    groups: NDArray[np.int64],
    folds: Sequence[FoldItems],
    classes: NDArray[Any],
    task: Task,
    readout: str,
    *,
    seed: int,
    shuffled: bool = False,
) -> Predicted:
    """Fit on the training items of each fold and predict its test items.

    Parameters
    ----------
    vectors : np.ndarray [tracks, width]
    targets : np.ndarray [tracks]
        From :meth:`Task.targets`.
    groups : np.ndarray [tracks]
        Kept on one side of the inner folds.
    folds
        Of usable items only.
    classes : np.ndarray [C]
        All targets that occur, sorted; what training did not have gets probability 0. Unused by a regression.
    task, readout
        The latter of ``READOUTS``, or ``PRIOR``.
    seed
        Of inner folds, initial weights and shuffling.
    shuffled
        Whether training targets are permuted: what is then predicted owes nothing to what the vectors hold.

    Returns
    -------
    Predicted
    """
    answers, selected, warned = [], [], Counter[str]()
    for number, fold in enumerate(folds):
        learnt = targets[fold.train]
        if shuffled:
            learnt = np.random.default_rng([seed, number]).permutation(learnt)
        estimator = _new(readout, task, seed)
        # One thread: more would wait for each other, and round differently.
        with threadpool_limits(1), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ReadoutWarning)
            fitted = estimator.fit(vectors[fold.train], learnt, *([] if readout == PRIOR else [groups[fold.train]]))
            answers.append(_answer(fitted, vectors[fold.test], classes, regression=task.regression))
        warned.update({str(warning.message) for warning in told})
        selected += [float(getattr(fitted, name)) for name in _SELECTED if hasattr(fitted, name)]
    answer = np.concatenate(answers)
    return Predicted(
        items=np.concatenate([fold.test for fold in folds]),
        folds=np.repeat(np.array([fold.name for fold in folds], dtype=object), [len(fold.test) for fold in folds]),
        estimates=task.estimates(answer, classes),
        probabilities=None if task.regression else answer.astype(np.float32),
        selected=tuple(selected),
        warned=warned,
    )


def _new(readout: str, task: Task, seed: int) -> Any:
    if readout == PRIOR:
        return DummyRegressor() if task.regression else DummyClassifier()
    return READOUTS[readout](random_state=seed)


def _answer(
    fitted: Any, vectors: NDArray[np.float32], classes: NDArray[Any], *, regression: bool
) -> NDArray[np.float64]:
    """Numbers [items], or probabilities [items, classes]."""
    if regression:
        return np.asarray(fitted.predict(vectors), dtype=np.float64)
    answer = np.zeros((len(vectors), len(classes)))
    answer[:, np.searchsorted(classes, fitted.classes_)] = fitted.predict_proba(vectors)
    return answer
