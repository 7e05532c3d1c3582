"""A small data set without audio, and rows whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.recipe import DatasetRecipe
from m2l2_mir.probe.plan import Plan, plan_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.rows import Row

TRACKS = 120


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """40 groups of three tracks, one of each of three genres; tempi over two octaves."""
    numbers = np.arange(TRACKS)
    tracks = pd.DataFrame(
        {
            "track_id": [f"t{number:03}" for number in numbers],
            "path": "",
            "genre": np.array(["jig", "reel", "waltz"])[numbers % 3],
            "tempo": 60 * 2 ** (2 * ((numbers * 37) % TRACKS) / TRACKS),
            "group": [f"g{number // 3:02}" for number in numbers],
        }
    )
    recipe = DatasetRecipe(
        title="Mock", about="", source="local", loader="", tasks=("genre", "tempo"), licence="CC0", citation="none"
    )
    return Dataset(
        name="mock",
        recipe=recipe,
        tracks=tracks,
        dropped=pd.DataFrame(columns=["track_id", "label", "reason"]),
        size="quick",
    )


@pytest.fixture(scope="module")
def plan(dataset: Dataset) -> Callable[..., Plan]:
    """A plan of a shipped probe, with two seeds and three folds."""

    def make(probe: str = "genre", **options) -> Plan:
        return plan_probe(*find_probe(probe), dataset, **{"seeds": 2, "folds": 3, **options})

    return make


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> dict[str, Row]:
    """Row "label" holds the genre beside some noise, "noise" nothing else."""
    rng = np.random.default_rng(20250117)
    genres = np.hstack([pd.get_dummies(dataset.tracks["genre"]), rng.normal(size=(TRACKS, 5))]).astype(np.float32)
    noise = rng.normal(size=(TRACKS, 4)).astype(np.float32)
    return {
        "label": Row(name="label", kind="model", width=8, load=lambda _: genres, provenance={"made": "of labels"}),
        "noise": Row(name="noise", kind="hand-made", width=4, load=lambda _: noise),
    }
