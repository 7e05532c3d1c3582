"""From a recipe, a table or a folder to a Dataset: which reader does it."""

from __future__ import annotations

from pathlib import Path

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.recipe import DatasetRecipe


def from_recipe(name: str, recipe: DatasetRecipe, *, home: Path | None, size: str, seed: int) -> Dataset:
    """mirdata -> mirdata_sets.read(recipe, home); local -> local_sets.READERS[loader](home);
    rendered -> the module's clips(size, seed)."""
    raise NotImplementedError
