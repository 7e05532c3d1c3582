"""Dataset recipes: one TOML file says where a set comes from, what is labelled and how it may be split.

A user's own recipe is found by its path; the ones that come with the package by their name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from m2l2_mir.errors import ConfigError, InputError
from m2l2_mir.recipe import close_match, from_mapping, from_toml, recipe_files

__all__ = ["SIZES", "TASKS", "DatasetRecipe", "SplitRecipe", "dataset_names", "find_recipe"]

Source = Literal["mirdata", "local", "rendered"]
TASKS = ("key", "pitch", "genre", "tempo", "instrument")  # label columns a probe can be trained on
SIZES = ("quick", "default", "large")


@dataclass(frozen=True, kw_only=True)
class SplitRecipe:
    """How tracks are put into folds; exactly one of `column`, `leave_out`, `folds` is given."""

    about: str = ""
    column: str = ""  # a column of the tracks that holds the fold ("train", "valid", "test", or any names)
    file: str = ""  # CSV beside the recipe (track_id, fold) that fills the column where the source has none
    sha256: str = ""  # of that file
    leave_out: str = ""  # each value of this column is a test fold in its turn
    folds: int = 0  # number of folds, stratified by the label
    grouped: bool = True  # whether folds that are drawn keep the set's groups whole; False to show what that changes

    def __post_init__(self) -> None:
        if sum(map(bool, (self.column, self.leave_out, self.folds))) != 1:
            raise ConfigError("a split needs exactly one of column, leave_out and folds")
        if self.file and not (self.column and self.sha256):
            raise ConfigError(f"a split with a file needs its column and sha256: {self.file!r}")
        if self.folds and self.folds < 2:
            raise ConfigError(f"a split needs at least 2 folds: {self.folds}")
        if not (self.grouped or self.folds):
            raise ConfigError("only folds that are drawn can be drawn without groups; give folds, or leave out grouped")


@dataclass(frozen=True, kw_only=True)
class DatasetRecipe:
    """One data set; see datasets/README.md."""

    title: str
    about: str
    source: Source
    loader: str  # mirdata: its name there; local and rendered: a reader of the package
    tasks: tuple[str, ...]
    licence: str
    citation: str
    homepage: str = ""
    version: str = "default"  # of the mirdata index
    labels: Mapping[str, str] = field(default_factory=dict)  # mirdata: column -> attribute of its Track
    get: str = ""  # what to put where, if it cannot be downloaded
    remotes: tuple[str, ...] = ()  # mirdata: what `fetch` downloads; empty: all but what mirdata cannot
    note: str = ""  # stands beside every result, such as "dance type, a stand-in for genre"
    splits: Mapping[str, Any] = field(default_factory=dict)  # the first is the default; SplitRecipe each
    sizes: Mapping[str, int] = field(default_factory=dict)  # rendered: size -> number of clips, roughly

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in TASKS:
                raise ConfigError(f"unknown task {task!r}{close_match(task, list(TASKS))}; tasks: {', '.join(TASKS)}")
        splits = self.splits or {"grouped": {"folds": 5}}
        checked = {
            name: split if isinstance(split, SplitRecipe) else from_mapping(SplitRecipe, split, source=f"split {name}")
            for name, split in splits.items()
        }
        object.__setattr__(self, "splits", checked)


def dataset_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(recipe_files("datasets"))


def find_recipe(name: str) -> tuple[str, DatasetRecipe]:
    """Read the recipe called `name`, or the TOML file at that path.

    Returns
    -------
    name : str
    recipe : DatasetRecipe

    Raises
    ------
    InputError
        There is no such recipe.
    ConfigError
        The recipe cannot be read.
    """
    if name.endswith(".toml"):
        return Path(name).stem, from_toml(DatasetRecipe, name)
    files = recipe_files("datasets")
    if name not in files:
        raise InputError(f"no data set {name!r} (see 'm2l2 datasets list'){close_match(name, sorted(files))}")
    return name, from_toml(DatasetRecipe, files[name])
