"""Sets that are read from a folder a person has filled, by the name their recipe gives as ``loader``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from m2l2_mir.dataset.published.fma import check_fma_small, read_fma_small
from m2l2_mir.dataset.published.giantsteps import check_giantsteps, read_giantsteps
from m2l2_mir.dataset.published.nsynth import check_nsynth, read_nsynth
from m2l2_mir.dataset.reading import Reading
from m2l2_mir.dataset.recipe import DatasetRecipe

__all__ = ["CHECKS", "READERS"]

READERS: dict[str, Callable[[DatasetRecipe, Path], Reading]] = {
    "nsynth": read_nsynth,
    "giantsteps-604": read_giantsteps,
    "fma-small": read_fma_small,
}
"""Read the tracks and labels of the set in a folder."""

CHECKS: dict[str, Callable[[DatasetRecipe, Path], list[str]]] = {
    "nsynth": check_nsynth,
    "giantsteps-604": check_giantsteps,
    "fma-small": check_fma_small,
}
"""List every problem of the set in a folder, one line each; an empty list means that all is there."""
