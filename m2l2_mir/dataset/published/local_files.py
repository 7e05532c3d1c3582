"""What the readers of local copies share: the folders that must be there, checksums, and findings in few words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from m2l2_mir.dataset.recipe import DatasetRecipe
from m2l2_mir.errors import InputError

__all__ = ["digest_of", "found", "md5_of", "parts_of", "straddling"]


def parts_of(recipe: DatasetRecipe, home: Path, parts: Sequence[str]) -> list[Path]:
    """Those of the folders `parts` of a set that are there.

    Raises
    ------
    InputError
        There is none; the message says what to put where.
    """
    there = [home / part for part in parts if (home / part).is_dir()]
    if not there:
        raise InputError(f"{recipe.title} is not in {str(home)!r}: it holds no {' or '.join(parts)}; {recipe.get}")
    return there


def found(names: Iterable[str], what: str) -> list[str]:
    """One line that counts the names and shows the first few; none where there are no names.

    >>> found(["a.wav", "b.wav", "c.wav", "d.wav"], "missing")
    ['4 missing: a.wav, b.wav, c.wav, ...']
    """
    names = sorted(names)
    return [f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"] if names else []


def md5_of(path: Path) -> str:
    """MD5 of a file, in hexadecimal digits."""
    return digest_of(path, "md5")


def digest_of(path: Path, algorithm: str) -> str:
    """Digest of a file, in hexadecimal digits; the algorithm is one that :mod:`hashlib` knows."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def straddling(tracks: pd.DataFrame) -> list[str]:
    """Groups that lie both in the train fold and in another one, whatever the source promises."""
    train = tracks["fold"] == "train"
    return sorted(set(tracks.loc[train, "group"]) & set(tracks.loc[~train & (tracks["fold"] != ""), "group"]))
