"""Fits of the experiment: what the read-out is told of the training items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from m2l2_mir.probe import fitting
from m2l2_mir.probe.fitting import FoldItems, fit_folds
from m2l2_mir.probe.linear import LinearClassifier
from m2l2_mir.probe.task import Task


def test_the_read_out_is_told_the_groups_of_its_training_items(monkeypatch: pytest.MonkeyPatch, rng: Any) -> None:
    told = []

    class Spy(LinearClassifier):
        def fit(self, X: Any, y: Any, groups: Any = None) -> Any:
            told.append(groups)
            return super().fit(X, y, groups)

    monkeypatch.setitem(fitting.READOUTS, "linear", Spy)
    targets = np.tile(["a", "b"], 20)
    groups = np.repeat(np.arange(10), 4)
    train, test = np.flatnonzero(groups < 8), np.flatnonzero(groups >= 8)
    fit_folds(
        rng.normal(size=(40, 3)).astype(np.float32),
        targets,
        groups,
        folds=[FoldItems(name="0", train=train, test=test)],
        classes=np.array(["a", "b"]),
        task=Task(metrics="genre", regression=False),
        readout="linear",
        seed=0,
    )
    assert [list(found) for found in told] == [list(groups[train])]
