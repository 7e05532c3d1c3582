"""Probe recipes: one TOML file says what is predicted, on which data, by which read-outs and with which metrics.

A user's own recipe is found by its path; the ones that come with the package by their name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.errors import ConfigError, InputError
from m2l2_mir.probe.oracles import check_oracles
from m2l2_mir.probe.task import READOUTS, Metrics, Task, is_regression
from m2l2_mir.recipe import close_match, from_toml, recipe_files

__all__ = ["ProbeRecipe", "check_readouts", "find_probe", "probe_names"]


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe:
    """One probe; see probes/README.md."""

    title: str
    about: str
    metrics: Metrics  # the module of metrics
    label: str  # column of the data set that is predicted
    dataset: str  # name, as 'm2l2 datasets' takes it; a run may take another
    splits: tuple[str, ...] = ()  # of that data set, the first is the one of the headline; none: its first split
    readouts: tuple[str, ...] = ("linear",)  # the first is the one of the headline
    shown: tuple[str, ...] = ()  # metrics beside the primary one in tables
    oracles: tuple[str, ...] = ()  # rows of what the score of a rendered track tells, see probe.oracles
    bins_per_octave: int = 12  # of tempo as classes
    reach_bins: int = 2  # of tempo as classes: neighbours on either side that the estimate is averaged over

    def __post_init__(self) -> None:
        check_readouts(self.readouts)
        check_oracles(self.oracles)
        for readout in self.readouts:
            self.task(readout)
        if self.bins_per_octave < 1 or self.reach_bins < 0:
            raise ConfigError(
                f"bins_per_octave is {self.bins_per_octave} and reach_bins {self.reach_bins}; "
                "give at least 1 and at least 0"
            )
        task = self.task(self.readouts[0])
        if unknown := [metric for metric in self.shown if metric not in task.metric_names]:
            known = list(task.metric_names)
            hint = close_match(unknown[0], known)
            raise ConfigError(f"no metric {unknown[0]!r} of {self.metrics}{hint}; there are {', '.join(known)}")

    def task(self, readout: str) -> Task:
        """What a read-out learns and how it is scored.

        Raises
        ------
        ConfigError
            The read-out is a regression and the labels are no numbers.
        """
        return Task(
            metrics=self.metrics,
            regression=is_regression(readout),
            bins_per_octave=self.bins_per_octave,
            reach_bins=self.reach_bins,
        )

    def splits_of(self, dataset: Dataset) -> tuple[str, ...]:
        """Splits to run: those of the recipe as far as the data set has all of them, else its first."""
        if self.splits and set(self.splits) <= set(dataset.recipe.splits):
            return self.splits
        return (next(iter(dataset.recipe.splits)),)


def check_readouts(names: tuple[str, ...]) -> None:
    """Raise a ConfigError unless all are names of ``READOUTS``, and there is one at least."""
    if not names:
        raise ConfigError(f"no read-out is named; give at least one of {', '.join(READOUTS)}")
    for name in names:
        if name not in READOUTS:
            raise ConfigError(
                f"no read-out {name!r}{close_match(name, list(READOUTS))}; there are {', '.join(READOUTS)}"
            )


def probe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(recipe_files("probes"))


def find_probe(name: str) -> tuple[str, ProbeRecipe]:
    """Read the recipe called `name`, or the TOML file at that path.

    Returns
    -------
    name : str
    recipe : ProbeRecipe

    Raises
    ------
    InputError
        There is no such recipe.
    ConfigError
        The recipe cannot be read.

    Examples
    --------
    >>> name, recipe = find_probe("key")
    >>> recipe.label, recipe.dataset
    ('key', 'bach-key')
    """
    if name.endswith(".toml"):
        return Path(name).stem, from_toml(ProbeRecipe, name)
    files = recipe_files("probes")
    if name not in files:
        raise InputError(f"no probe {name!r} (see 'm2l2 probe list'){close_match(name, sorted(files))}")
    return name, from_toml(ProbeRecipe, files[name])
