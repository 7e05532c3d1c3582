"""What a read-out is trained on, how its answer becomes an estimate, and how estimates are scored.

label --targets--> classes or numbers --read-out--> answer --estimates--> label --per_item--> scores

Conventions
-----------
* Classification: keys, genres and instruments are classes as they are, pitches too; a tempo becomes one of the bins of
  log2 bpm, and the estimate is the mean over bins near the most probable one, weighted by probability.
* Regression: MIDI numbers, and log2 of bpm.
* ``STATISTICS`` are metrics of a whole set that are no mean over items. They are computed on the items of all seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import ConfigError
from m2l2_mir.probe import genre, key, pitch, tempo
from m2l2_mir.probe.linear import LinearClassifier, LinearRegressor
from m2l2_mir.probe.neighbours import NearestNeighbourClassifier, NearestNeighbourRegressor
from m2l2_mir.probe.nonlinear import MLPClassifier, MLPRegressor
from m2l2_mir.probe.resampling import Bounds

__all__ = ["READOUTS", "Metrics", "Task", "is_regression"]

Metrics = Literal["key", "pitch", "tempo", "genre"]
Statistic = Callable[[pd.DataFrame], float]

READOUTS: dict[str, Callable[..., Any]] = {
    "linear": LinearClassifier,
    "mlp": MLPClassifier,
    "knn": NearestNeighbourClassifier,
    "linear-regression": LinearRegressor,
    "mlp-regression": MLPRegressor,
    "knn-regression": NearestNeighbourRegressor,
}

_MODULES: dict[str, ModuleType] = {"key": key, "pitch": pitch, "tempo": tempo, "genre": genre}
_NUMBERS = ("pitch", "tempo")
# An example of each kind of label, to learn the names of metrics from.
_EXAMPLES: dict[str, Any] = {"key": "C major", "pitch": 60, "tempo": 120.0, "genre": "jig"}
# Metrics that are no shares between 0 and 1; None: without bounds.
_BOUNDS: dict[str, Bounds | None] = {
    "absolute_error": None,
    "error": None,
    "oe1": None,
    "oe2": None,
    "aoe1": None,
    "aoe2": None,
    "brier": (0.0, 2.0),
    "r2": None,
}
_SIZES = frozenset({"absolute_error", "aoe1", "aoe2"})  # at least 0, without an upper bound


def is_regression(readout: str) -> bool:
    """Whether a read-out of ``READOUTS`` learns numbers.

    >>> is_regression("linear"), is_regression("linear-regression")
    (False, True)
    """
    return readout.endswith("-regression")


@dataclass(frozen=True, kw_only=True)
class Task:
    """Targets, estimates and scores of one kind of label.

    Parameters
    ----------
    metrics
        Module of metrics: "key", "pitch", "tempo" or "genre", which also serves any other classes.
    regression
        Whether numbers are learnt and not classes.
    bins_per_octave, reach_bins
        Of tempo as classes: bins in an octave; bins on either side of the best one that the estimate is averaged over.

    Examples
    --------
    >>> task = Task(metrics="tempo", regression=False)
    >>> bins = task.targets([60, 120])
    >>> bins.tolist(), task.estimates(np.array([[1.0, 0.0], [0.0, 1.0]]), bins).round(1).tolist()
    ([71, 83], [60.4, 120.8])
    """

    metrics: Metrics
    regression: bool
    bins_per_octave: int = tempo.BINS_PER_OCTAVE
    reach_bins: int = 2

    def __post_init__(self) -> None:
        if self.regression and self.metrics not in _NUMBERS:
            raise ConfigError(f"a regression needs labels that are numbers; {self.metrics} has classes")

    @property
    def primary(self) -> str:
        """The metric that rows are compared by."""
        return str(_MODULES[self.metrics].PRIMARY)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """All metrics: means over items, then statistics."""
        example = [_EXAMPLES[self.metrics]]
        shares = {"probabilities": [[1.0]], "classes": example} if self.scores_probabilities else {}
        items = _MODULES[self.metrics].per_item(example, example, **shares)
        return (*map(str, items.columns), *self.statistics)

    @property
    def scores_probabilities(self) -> bool:
        """Whether metrics are also of probabilities."""
        return self.metrics == "genre"

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        """Metrics of a whole set: from a table with columns ``reference`` and ``estimated``, classes as integers."""
        return _STATISTICS[self.metrics]

    def bounds(self, metric: str) -> Bounds | None:
        """Smallest and largest value of a metric; None without bounds."""
        return _BOUNDS.get(metric, (0.0, 1.0))

    def is_size(self, metric: str) -> bool:
        """Whether a metric is at least 0 and has no upper bound."""
        return metric in _SIZES

    def labels(self, values: ArrayLike) -> NDArray[Any]:
        """Labels as they are scored: numbers of pitches and tempi, text of all classes.

        Raises
        ------
        InputError
            They are no such labels.
        """
        if self.metrics not in ("pitch", "tempo"):
            values = np.array([str(value) for value in np.asarray(values, dtype=object)])
        _MODULES[self.metrics].validate(values, values)
        return np.asarray(values)

    def targets(self, labels: ArrayLike) -> NDArray[Any]:
        """What a read-out is trained on, [items]."""
        if self.metrics == "tempo":
            if self.regression:
                return tempo.to_octaves(labels)
            return tempo.to_bins(labels, bins_per_octave=self.bins_per_octave)
        if self.metrics == "pitch":
            return np.asarray(labels, dtype=np.float64 if self.regression else np.int64)
        return np.asarray(labels, dtype=np.str_)

    def estimates(self, answer: NDArray[np.float64], classes: NDArray[Any]) -> NDArray[Any]:
        """Labels from numbers [items], or from probabilities [items, classes] of targets."""
        if self.regression:
            return tempo.from_octaves(answer) if self.metrics == "tempo" else answer
        if self.metrics == "tempo":
            reach = self.reach_bins / self.bins_per_octave
            return tempo.from_probabilities(answer, classes, reach=reach, bins_per_octave=self.bins_per_octave)
        return classes[answer.argmax(axis=1)]

    def per_item(
        self,
        reference: ArrayLike,
        estimated: ArrayLike,
        probabilities: NDArray[np.float64] | None = None,
        classes: NDArray[Any] | None = None,
    ) -> pd.DataFrame:
        """Scores of each item, one column a metric."""
        module = _MODULES[self.metrics]
        frame: pd.DataFrame = (
            module.per_item(reference, estimated, probabilities, classes)
            if self.scores_probabilities
            else module.per_item(reference, estimated)
        )
        return frame


# In numpy, since they are computed once for each bootstrap draw; scikit-learn takes a hundred times as long.


def _confusion(items: pd.DataFrame) -> NDArray[np.float64]:
    true, guessed = items["reference"].to_numpy(), items["estimated"].to_numpy()
    classes = int(max(true.max(), guessed.max())) + 1
    return np.bincount(true * classes + guessed, minlength=classes**2).reshape(classes, classes).astype(np.float64)


def _macro_f1(items: pd.DataFrame) -> float:
    counts = _confusion(items)
    either = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(2 * np.diag(counts)[either > 0] / either[either > 0]))


def _macro_accuracy(items: pd.DataFrame) -> float:
    counts = _confusion(items)
    true = counts.sum(axis=1)
    return float(np.mean(np.diag(counts)[true > 0] / true[true > 0]))


def _r2(items: pd.DataFrame) -> float:
    ours, theirs = np.log2(items["reference"].to_numpy()), np.log2(items["estimated"].to_numpy())
    spread = float(np.sum((ours - ours.mean()) ** 2))
    return 1 - float(np.sum((ours - theirs) ** 2)) / spread if spread else float("nan")


_STATISTICS: dict[str, Mapping[str, Statistic]] = {
    "key": {"macro_accuracy": _macro_accuracy},
    "pitch": {},
    "tempo": {"r2": _r2},
    "genre": {"macro_f1": _macro_f1, "balanced_accuracy": _macro_accuracy},
}
