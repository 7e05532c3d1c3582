"""Splits as manifests: which track is in which fold, which are left out and why, under one hash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from m2l2_mir.dataset.recipe import SplitRecipe

__all__ = ["Manifest", "Rotation", "make_manifest"]


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """One training and test set of a manifest."""

    name: str  # of the test fold
    train: tuple[str, ...]  # track ids
    valid: tuple[str, ...]  # empty where the split has none: selection happens inside train
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A split: ``table`` has track_id, label value, fold, group, audio; ``excluded`` has track_id, reason."""

    dataset: str
    label: str
    split: str
    seed: int
    table: pd.DataFrame
    excluded: pd.DataFrame

    @property
    def sha256(self) -> str:
        """Hash of ids, labels, folds, groups and exclusions; equal hashes mean comparable results."""
        raise NotImplementedError

    def rotations(self) -> Iterator[Rotation]:
        """Train/valid/test once, or each fold as test in its turn."""
        raise NotImplementedError

    def require_same(self, other: Manifest) -> None:
        """Refuse to compare results on different manifests."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, path: Path) -> Manifest:
        raise NotImplementedError


def make_manifest(
    tracks: pd.DataFrame,
    dropped: pd.DataFrame,
    *,
    dataset: str,
    label: str,
    split_name: str,
    split: SplitRecipe,
    seed: int,
) -> Manifest:
    """Put the tracks that carry a label into folds."""
    raise NotImplementedError
