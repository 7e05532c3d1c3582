"""Targets, estimates and the statistics that are computed here for speed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score

from m2l2_mir.errors import ConfigError, InputError
from m2l2_mir.probe import genre, key, tempo
from m2l2_mir.probe.recipe import ProbeRecipe, find_probe, probe_names
from m2l2_mir.probe.task import READOUTS, Task


def test_statistics_agree_with_scikit_learn(rng) -> None:
    true, guessed = rng.integers(0, 6, 200), rng.integers(0, 8, 200)
    items = pd.DataFrame({"reference": true, "estimated": guessed})
    classes = Task(metrics="genre", regression=False).statistics
    assert classes["macro_f1"](items) == pytest.approx(f1_score(true, guessed, average="macro", zero_division=0))
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        assert classes["balanced_accuracy"](items) == pytest.approx(balanced_accuracy_score(true, guessed))
    assert genre.evaluate(true, guessed)["macro_f1"] == pytest.approx(classes["macro_f1"](items))
    keys = np.array(key.FIFTHS)
    coded = Task(metrics="key", regression=False).statistics["macro_accuracy"](items)
    assert key.evaluate(keys[true], keys[guessed])["macro_accuracy"] == pytest.approx(coded)
    bpm = pd.DataFrame({"reference": rng.uniform(60, 180, 50), "estimated": rng.uniform(60, 180, 50)})
    r2 = Task(metrics="tempo", regression=False).statistics["r2"](bpm)
    assert r2 == pytest.approx(r2_score(np.log2(bpm["reference"]), np.log2(bpm["estimated"])))
    assert r2 == pytest.approx(tempo.evaluate(bpm["reference"], bpm["estimated"])["r2"])


def test_tempo_is_averaged_over_its_reach() -> None:
    bins = np.arange(72, 79)
    shares = np.array([[0.1, 0.2, 0.3, 0.2, 0.1, 0.0, 0.1]])  # symmetric about the third, but for the last
    for reach, expected in ((0, 74), (2, 74), (6, (74 * 0.9 + 78 * 0.1))):
        task = Task(metrics="tempo", regression=False, reach_bins=reach)
        assert np.log2(task.estimates(shares, bins)) * 12 == pytest.approx(expected)


def test_every_recipe_is_whole() -> None:
    assert set(probe_names()) == {"key", "pitch", "genre", "tempo", "instrument"}
    for name in probe_names():
        _, recipe = find_probe(name)
        assert set(recipe.readouts) <= set(READOUTS)
        assert recipe.about


def test_wrong_recipes_are_refused() -> None:
    whole = {"title": "", "about": "", "metrics": "key", "label": "key", "dataset": "bach-key"}
    for wrong, message in (
        ({"readouts": ("linaer",)}, "no read-out 'linaer'; did you mean 'linear'"),
        ({"readouts": ("linear-regression",)}, "key has classes"),
        ({"shown": ("weightd",)}, "no metric 'weightd' of key; did you mean 'weighted'"),
        ({"reach_bins": -1}, "reach_bins -1"),
    ):
        with pytest.raises(ConfigError, match=message):
            ProbeRecipe(**{**whole, **wrong})
    with pytest.raises(InputError, match="no probe 'kye'"):
        find_probe("kye")


def test_classes_may_be_numbers_and_tempi_must_be() -> None:
    assert Task(metrics="genre", regression=False).labels([3, 1, 3]).tolist() == ["3", "1", "3"]
    assert Task(metrics="tempo", regression=False).labels([60, 120.5]).tolist() == [60, 120.5]
    with pytest.raises(InputError, match="labels are not numbers"):
        Task(metrics="tempo", regression=False).labels(["reel", "jig"])
    with pytest.raises(InputError):
        Task(metrics="key", regression=False).labels(["H dur"])
