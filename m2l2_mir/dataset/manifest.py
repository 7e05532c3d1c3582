"""Manifests: which track is in which fold, which are left out and why, under one hash.

Conventions
-----------
* Two results may be compared if their manifests have the same :attr:`Manifest.sha256`: the same tracks with the same
  labels in the same folds. A track is the checksum of its audio where the source states one, else its path within the
  set. Neither the order of rows nor the folder that the whole set lies in counts.
* Folds called ``train``, ``valid`` and ``test`` are used once in these roles; folds of other names are tested in turn.
* Every track has a group. One whose set states none stands alone, as ``"track:"`` and its id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Self

import pandas as pd

from m2l2_mir.durable import write_durably
from m2l2_mir.errors import InputError

__all__ = ["ALONE", "OFFICIAL_FOLDS", "Manifest", "Rotation"]

OFFICIAL_FOLDS = ("train", "valid", "test")
ALONE = "track:"  # begins the group of a track that has none

FORMAT = 2
MOST_CLASSES = 20  # that a label of numbers may have and still be one of classes
_ROW = ("track_id", "label", "fold", "group", "audio", "file")
_EXCLUDED = ("track_id", "reason")
_NAMES = ("dataset", "label", "split", "seed")


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """One training and test set of a manifest."""

    name: str  # of the test fold
    train: tuple[str, ...]  # track ids
    valid: tuple[str, ...]  # empty where the split has none: selection happens inside train
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A split of a data set for one label; made by :func:`~m2l2_mir.dataset.split.make_manifest`.

    Parameters
    ----------
    dataset, label, split
        Names.
    seed
        That drew the folds, if they were drawn.
    table
        One row a track, sorted by id: ``track_id``, ``label`` (its value), ``fold``, ``group``, ``audio`` (checksum
        or "") and ``file`` (where there is no checksum, the path relative to the folder that all files share; "" if it
        is left out).
    excluded
        One row a track that is not used: ``track_id``, ``reason``.
    """

    dataset: str
    label: str
    split: str
    seed: int
    table: pd.DataFrame
    excluded: pd.DataFrame

    def __post_init__(self) -> None:
        if "file" not in self.table:
            object.__setattr__(self, "table", self.table.assign(file=""))

    @property
    def sha256(self) -> str:
        """Hash of ids, labels, folds, groups, checksums or files, and exclusions; equal hashes mean comparable."""
        excluded = _records(self.excluded, _EXCLUDED)
        return _digest([FORMAT, _without_folder(self.dataset), self.label, self._rows(), excluded])

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds: train, valid, test, or in sorted order, numbers as numbers."""
        names = set(self.table["fold"])
        if names <= set(OFFICIAL_FOLDS):
            return tuple(name for name in OFFICIAL_FOLDS if name in names)
        return tuple(sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))

    @property
    def has_classes(self) -> bool:
        """Whether the label is one of classes: words, or at most 20 different numbers."""
        values = self.table["label"]
        return not pd.api.types.is_numeric_dtype(values) or values.nunique() <= MOST_CLASSES

    def rotations(self) -> Iterator[Rotation]:
        """Train, valid and test once, or each fold as test in its turn and the others as train."""
        ids = {fold: tuple(part["track_id"]) for fold, part in self.table.groupby("fold", sort=False)}
        if set(ids) <= set(OFFICIAL_FOLDS) and {"train", "test"} <= set(ids):
            yield Rotation(name="test", train=ids["train"], valid=ids.get("valid", ()), test=ids["test"])
            return
        for fold in self.folds:
            inside = (self.table["fold"] == fold).to_numpy()
            yield Rotation(name=fold, train=tuple(self.table["track_id"][~inside]), valid=(), test=ids[fold])

    def describe(self) -> pd.DataFrame:
        """One row a fold: ``tracks``, ``groups``, and the tracks of each class, or min, median and max of numbers."""
        by_fold = self.table.groupby("fold")
        counts = pd.DataFrame({"tracks": by_fold.size(), "groups": by_fold["group"].nunique()})
        if self.has_classes:
            labels = pd.crosstab(self.table["fold"], self.table["label"])
        else:
            labels = by_fold["label"].agg(["min", "median", "max"])
        return pd.concat([counts, labels], axis=1).loc[list(self.folds)]

    def require_same(self, other: Manifest) -> None:
        """Refuse to compare results on different manifests.

        Raises
        ------
        InputError
            They differ; the message says in what.
        """
        if self.sha256 != other.sha256:
            raise InputError(f"results on different tracks or folds cannot be compared: {self._difference(other)}")

    def save(self, path: Path) -> None:
        """Write one JSON file, a line for each track, that holds its own checksum."""
        values: dict[str, Any] = {"format": FORMAT, "sha256": self.sha256}
        values |= {key: getattr(self, key) for key in _NAMES}
        values["columns"] = list(_ROW)
        values["tracks"] = _plain(self.table, _ROW)
        values["excluded"] = _plain(self.excluded, _EXCLUDED)
        values["checksum"] = _digest(values)
        text = "{\n" + ",\n".join(f"  {_json(key)}: {_lines(value)}" for key, value in values.items()) + "\n}\n"
        write_durably(Path(path), lambda file: file.write(text.encode()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` has written.

        Raises
        ------
        InputError
            The file cannot be read, is no manifest, or was changed since it was written.
        """
        again = "restore it or make the split again"
        try:
            values = json.loads(Path(path).read_bytes().decode())
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}; {again}") from error
        except ValueError as error:
            raise InputError(f"{path}: is no JSON ({error}); {again}") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT or values.get("columns") != list(_ROW):
            raise InputError(f"{path}: is no manifest of a split that this version can read; {again}")
        if values.pop("checksum", None) != _digest(values):
            raise InputError(f"{path}: was changed since it was written, its content does not fit its hash; {again}")
        return cls(
            **{key: values[key] for key in _NAMES},
            table=pd.DataFrame(values["tracks"], columns=list(_ROW)),
            excluded=pd.DataFrame(values["excluded"], columns=list(_EXCLUDED)),
        )

    def _rows(self) -> list[list[str]]:
        # by repr a float is the same on every machine, and 60 and 60.0 are the same pitch
        numeric = pd.api.types.is_numeric_dtype(self.table["label"])
        labels = self.table["label"].map(lambda value: repr(float(value)) if numeric else str(value))
        return _records(self.table.assign(label=labels), _ROW)

    def _difference(self, other: Manifest) -> str:
        for what in ("dataset", "label"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if _without_folder(mine) != _without_folder(theirs):
                return f"{what} {mine!r} and {theirs!r}"
        mine, theirs = (pd.DataFrame(part._rows(), columns=_ROW).set_index("track_id") for part in (self, other))
        only = [mine.index.difference(theirs.index), theirs.index.difference(mine.index)]
        if any(map(len, only)):
            example = next(ids[0] for ids in only if len(ids))
            return (
                f"{len(only[0])} tracks are only in the first, {len(only[1])} only in the second, such as {example!r}"
            )
        whats = {
            "label": "labels",
            "fold": "folds",
            "group": "groups",
            "audio": "audio checksums",
            "file": "audio files",
        }
        for column, what in whats.items():
            differs = mine[column] != theirs[column]
            if differs.any():
                track = str(differs.idxmax())
                where = f"; splits {self.split!r} (seed {self.seed}) and {other.split!r} (seed {other.seed})"
                return (
                    f"{what} of {differs.sum()} of {len(mine)} tracks differ, such as {track!r}: "
                    f"{mine[column][track]!r} and {theirs[column][track]!r}{where if column == 'fold' else ''}"
                )
        return f"{len(self.excluded)} and {len(other.excluded)} tracks are excluded, or for other reasons"


def _without_folder(dataset: str) -> str:
    """Name of a set without where its table or folder lies, such as ``"table:my.csv"``."""
    kind, colon, rest = dataset.partition(":")
    return f"{kind}:{PurePath(rest).name}" if colon else dataset


def _records(table: pd.DataFrame, columns: tuple[str, ...]) -> list[list[str]]:
    return sorted(table[list(columns)].astype(str).to_numpy().tolist())


def _plain(table: pd.DataFrame, columns: tuple[str, ...]) -> list[list[Any]]:
    rows = zip(*(table[column].tolist() for column in columns), strict=True)  # tolist: numbers of Python, not of numpy
    return list(map(list, rows))


def _lines(value: Any) -> str:
    """JSON with a line for each row of a table."""
    if not (isinstance(value, list) and value and isinstance(value[0], list)):
        return _json(value)
    return "[\n" + ",\n".join(f"    {_json(row)}" for row in value) + "\n  ]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _digest(value: Any) -> str:
    return hashlib.sha256(_json(value).encode()).hexdigest()
