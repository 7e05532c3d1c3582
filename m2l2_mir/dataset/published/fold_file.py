"""Folds as published lists: a CSV beside the recipe, read only if it is the file that the recipe means."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from m2l2_mir.dataset.recipe import DatasetRecipe, SplitRecipe
from m2l2_mir.errors import ConfigError
from m2l2_mir.recipe import recipe_files

__all__ = ["fold_columns"]


def fold_columns(recipe: DatasetRecipe) -> dict[str, dict[str, str]]:
    """Read the lists that the splits of a recipe name.

    Returns
    -------
    dict
        Column -> track id -> fold. Tracks that a list does not hold have no fold.

    Raises
    ------
    ConfigError
        A file is not there, is not the one whose SHA-256 the recipe states, or is no list of folds.
    """
    return {split.column: _folds(split) for split in recipe.splits.values() if split.file}


def _folds(split: SplitRecipe) -> dict[str, str]:
    path = _beside_recipes(split.file)
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != split.sha256:
        raise ConfigError(f"{path} is not the list the recipe means (SHA-256 {found}); install the package again")
    lines = [line for line in content.decode("utf-8").splitlines() if not line.startswith("#")]
    rows = csv.DictReader(lines)
    if rows.fieldnames is None or list(rows.fieldnames) != ["track_id", "fold"]:
        raise ConfigError(f"{path} must have the columns track_id and fold: {rows.fieldnames}")
    return {row["track_id"]: row["fold"] for row in rows}


def _beside_recipes(name: str) -> Path:
    """A file among the package's recipes; the recipe of a user gives the absolute path."""
    folders = {path.parent for path in recipe_files("datasets").values()}
    for path in [folder / name for folder in sorted(folders)]:
        if path.is_file():
            return path
    raise ConfigError(f"the list of folds {name!r} is not there; give its absolute path, or install the package again")
