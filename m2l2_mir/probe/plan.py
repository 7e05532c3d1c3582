"""The design of an experiment: which tracks, in which folds for each seed, read by what.

A seed redraws folds where the split draws them; where the folds are given they are the same for all seeds. All rows of
an experiment are fitted and tested on the folds of one plan.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.manifest import Manifest
from m2l2_mir.errors import InputError, SplitWarning
from m2l2_mir.probe.recipe import ProbeRecipe, check_readouts
from m2l2_mir.recipe import close_match

__all__ = ["SEEDS", "Plan", "plan_probe"]

SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One probe on one data set.

    Parameters
    ----------
    name
        Of the probe.
    recipe
        With the read-outs that are used.
    dataset
        The tracks that any of the splits uses, and no others.
    label
        Column that is predicted.
    manifests
        By split, one for each seed; the first split is the one of the headline.
    notes
        What has to be said with every result.
    """

    name: str
    recipe: ProbeRecipe
    dataset: Dataset
    label: str
    manifests: Mapping[str, tuple[Manifest, ...]]
    notes: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(next(iter(self.manifests.values())))

    @property
    def track_ids(self) -> list[str]:
        """In the order that vectors have."""
        return self.dataset.tracks["track_id"].tolist()

    @property
    def settings(self) -> dict[str, Any]:
        """What results of this plan depend on, but for the rows."""
        return {
            "probe": self.name,
            "recipe": {key: value for key, value in asdict(self.recipe).items() if key not in ("title", "about")},
            "dataset": self.dataset.name,
            "label": self.label,
            "manifests": {split: [one.sha256 for one in seeds] for split, seeds in self.manifests.items()},
        }


def plan_probe(
    name: str,
    recipe: ProbeRecipe,
    dataset: Dataset,
    *,
    label: str | None = None,
    splits: Sequence[str] = (),
    readouts: Sequence[str] = (),
    seeds: int = SEEDS,
    folds: int | None = None,
) -> Plan:
    """Draw the folds of all seeds.

    Parameters
    ----------
    name, recipe
        Of the probe.
    dataset
        Any; the recipe's or another one with such labels.
    label, splits, readouts
        In place of the recipe's.
    seeds
        How many: folds, initial weights and shuffled labels are drawn anew for each.
    folds
        How many are drawn, of splits that draw them; None: as many as the split says.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        The set has no such label or split, or cannot be split.
    ConfigError
        There is no such read-out, or it cannot learn such labels.
    """
    if seeds < 1:
        raise InputError(f"seeds is {seeds}; give at least 1, and 5 or more for results to publish")
    if readouts:
        check_readouts(tuple(readouts))
        recipe = replace(recipe, readouts=tuple(readouts))
    label = label or recipe.label
    if label not in dataset.tracks:
        known = [str(column) for column in dataset.tracks.columns]
        raise InputError(
            f"{dataset.name} has no label {label!r}{close_match(label, known)}; probe {name!r} needs one, "
            "which --label can name"
        )
    dataset = replace(dataset, tracks=dataset.tracks.assign(track_id=dataset.tracks["track_id"].astype(str)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SplitWarning)
        manifests = {
            split: tuple(dataset.split(label, split, seed=seed, folds=folds) for seed in range(seeds))
            for split in dict.fromkeys(splits or recipe.splits_of(dataset))
        }
    for manifest in (seeds_of[0] for seeds_of in manifests.values()):
        recipe.task(recipe.readouts[0]).labels(manifest.table["label"].to_numpy())  # before anything is embedded
    notes = dict.fromkeys([*dataset.notes, *(str(warning.message) for warning in told)])
    used = {track for seeds_of in manifests.values() for track in seeds_of[0].table["track_id"]}
    return Plan(
        name=name,
        recipe=recipe,
        dataset=_with_tracks(dataset, used),
        label=label,
        manifests=manifests,
        notes=tuple(notes),
    )


def _with_tracks(dataset: Dataset, wanted: set[str]) -> Dataset:
    inside = dataset.tracks["track_id"].isin(wanted).to_numpy()
    clips = [clip for clip, kept in zip(dataset.clips, inside, strict=True) if kept] if dataset.clips else ()
    return replace(dataset, tracks=dataset.tracks[inside].reset_index(drop=True), clips=clips)
