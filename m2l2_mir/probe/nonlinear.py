"""Non-linear read-outs: a network with one hidden layer, with the number of epochs selected inside ``fit``.

They show what a linear read-out misses. Another one is :mod:`m2l2_mir.probe.neighbours`.

Conventions
-----------
- The network is scikit-learn's (ReLU, Adam). It is trained on all inner folds but one, until the held-out fold's loss
  has not fallen for ten epochs, then trained anew on all items for the best number of epochs. scikit-learn's own early
  stopping would hold out items at random, across groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import neural_network

from m2l2_mir.errors import InputError
from m2l2_mir.probe.readout import Readout, ReadoutClassifier, ReadoutRegressor
from m2l2_mir.probe.selection import Fold

__all__ = ["MLPClassifier", "MLPRegressor"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_PATIENCE = 10  # epochs without a lower loss
_BATCH = 64


class _Network(Readout):
    """Parameters and training of a network.

    Parameters
    ----------
    hidden
        Units of the hidden layer.
    epochs
        At most.
    weight_decay
        L2 penalty, ``alpha`` of scikit-learn.
    folds
        One of so many inner folds stops the training.
    random_state
        Of folds, initial weights and batches; the same seed gives the same result.
    """

    def __init__(
        self,
        hidden: int = 256,
        *,
        epochs: int = 200,
        weight_decay: float = 1e-4,
        folds: int = 5,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.weight_decay = weight_decay
        self.folds = folds
        self.random_state = random_state

    def _train(
        self,
        new: Callable[..., Any],
        X: Floats,
        targets: NDArray[Any],
        folds: list[Fold],
        loss: Callable[[Any, Integers, Integers], float],
        **options: Any,
    ) -> None:
        """Set ``network_``, ``epochs_`` and ``inner_losses_``; `loss` takes a network, training and held-out items."""
        for name in ("hidden", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give at least 1")
        single = X.astype(np.float32)  # half the time
        random = self._random

        def trained_on(items: NDArray[np.intp] | slice) -> Callable[[], Any]:
            network = new(
                hidden_layer_sizes=(self.hidden,),
                alpha=self.weight_decay,
                batch_size=min(_BATCH, len(single[items])),
                random_state=random,  # an instance, since a number would give each epoch the same batches
            )
            return lambda: network.partial_fit(single[items], targets[items], **options)

        losses: list[float] = []
        if folds:
            training, held_out = folds[0]
            epoch = trained_on(training)
            while len(losses) < self.epochs and len(losses) - np.argmin([*losses, np.inf]) <= _PATIENCE:
                losses.append(loss(epoch(), training, held_out))
        self.inner_losses_ = np.array(losses)
        self.epochs_ = int(self.inner_losses_.argmin()) + 1 if folds else min(_PATIENCE, self.epochs)
        epoch = trained_on(slice(None))
        for _ in range(self.epochs_):
            self.network_ = epoch()
        if folds and self.epochs_ == self.epochs:
            self._warn("the held-out loss still fell in the last epoch; give more epochs")


class MLPClassifier(ReadoutClassifier, _Network):
    """Network with one hidden layer and a softmax, stopped early by an inner fold.

    Parameters
    ----------
    hidden, epochs, weight_decay, folds, random_state
        Units of the hidden layer; most epochs; L2 penalty (``alpha`` of scikit-learn); number of inner folds, one of
        which stops the training; seed of folds, initial weights and batches.

    Attributes
    ----------
    classes_ : np.ndarray [C]
    network_ : sklearn.neural_network.MLPClassifier
        Of standardised items and class codes.
    epochs_ : int
        Of the final training; 10 where no fold can be held out.
    inner_losses_ : np.ndarray [epochs tried]
        Mean negative log probability of the held-out fold, in nats.
    scaler_ : StandardScaler

    Examples
    --------
    >>> X, noise = np.split(np.random.default_rng(0).normal(size=(300, 5)), [4], axis=1)
    >>> readout = MLPClassifier(64).fit(X, np.where(np.abs(X[:, 0]) + noise[:, 0] > 0.7, "far", "near"))
    >>> readout.predict([[3.0, 0, 0, 0], [0.0, 0, 0, 0]]).tolist()
    ['far', 'near']
    """

    def _learn(self, X: Floats, codes: Integers, folds: list[Fold]) -> None:
        def loss(network: Any, training: Integers, held_out: Integers) -> float:
            # What the network cannot know yet has a loss that rises with training, whatever else it learns.
            known = held_out[np.isin(codes[held_out], codes[training])]
            probabilities = network.predict_proba(X[known])[np.arange(len(known)), codes[known]] if len(known) else 1.0
            return -float(np.mean(np.log(np.maximum(probabilities, 1e-12))))

        self._train(neural_network.MLPClassifier, X, codes, folds, loss, classes=np.arange(len(self.classes_)))

    def _probabilities(self, X: Floats) -> Floats:
        return self.network_.predict_proba(X)


class MLPRegressor(ReadoutRegressor, _Network):
    """Network with one hidden layer and one output, stopped early by an inner fold.

    Parameters
    ----------
    hidden, epochs, weight_decay, folds, random_state
        As in :class:`MLPClassifier`.

    Attributes
    ----------
    network_ : sklearn.neural_network.MLPRegressor
        Of standardised items and the standardised target.
    target_mean_, target_scale_ : float
        Mean and standard deviation of the training target.
    epochs_ : int
        Of the final training; 10 where no fold can be held out.
    inner_losses_ : np.ndarray [epochs tried]
        Mean squared error of the held-out fold, in variances of the target.
    scaler_ : StandardScaler

    Examples
    --------
    >>> X, noise = np.split(np.random.default_rng(0).normal(size=(300, 5)), [4], axis=1)
    >>> readout = MLPRegressor(64).fit(X, 120 + 20 * np.abs(X[:, 0]) + 10 * noise[:, 0])
    >>> low, high = readout.predict([[0.0, 0, 0, 0], [-2.0, 0, 0, 0]])
    >>> bool(low < 140 < high)
    True
    """

    def _learn(self, X: Floats, y: Floats, folds: list[Fold]) -> None:
        self.target_mean_, self.target_scale_ = float(y.mean()), float(y.std())
        targets = (y - self.target_mean_) / (self.target_scale_ or 1.0)

        def loss(network: Any, _: Integers, held_out: Integers) -> float:
            return float(np.mean((network.predict(X[held_out]) - targets[held_out]) ** 2))

        self._train(neural_network.MLPRegressor, X, targets, folds, loss)

    def _predict(self, X: Floats) -> Floats:
        return self.target_mean_ + self.target_scale_ * self.network_.predict(X).astype(np.float64)
