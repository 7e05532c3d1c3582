"""What a leakage audit has found: tables, and lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

__all__ = ["CHECKS", "Audit"]

CHECKS = ("groups", "identical audio", "identical sound", "near duplicates")
SHOWN = 5  # examples of each kind among the lines


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What :func:`audit` has found.

    Parameters
    ----------
    dataset, label, split, manifest
        Names, and the hash of the manifest.
    tracks, folds
        Numbers of them.
    grouped, heard, embedded
        Of the tracks, how many state a group, have audio or its checksum, and were compared by embeddings.
    groups
        Groups in several folds: ``group``, ``folds``, ``tracks`` (number).
    identical
        Sets of tracks with identical audio: ``tracks``, ``folds``, ``labels`` (a tuple each), ``by`` ("file",
        "samples" or "checksum": what all of them share, else "mixed"), ``leak`` (in several folds), ``conflict``
        (labels differ).
    near
        Pairs of tracks that are almost identical and not in `identical`: ``first``, ``second``, ``first_fold``,
        ``second_fold``, ``similarity``, ``ratio`` (:mod:`m2l2_mir.audit.near_duplicates`), ``leak``.
    balance
        For each fold: ``tracks``, ``distance`` (total variation between its shares of the classes and those of all
        tracks, 0 to 1), ``chance`` (what 95 % of random folds stay below), ``missing`` (classes it has none of).
    not_checked
        What the audit could not see, and why: each begins with one of :data:`CHECKS`, and with a colon after it if
        nothing of it was seen.
    """

    dataset: str
    label: str
    split: str
    manifest: str
    tracks: int
    folds: int
    grouped: int
    heard: int
    embedded: int
    groups: pd.DataFrame
    identical: pd.DataFrame
    near: pd.DataFrame
    balance: pd.DataFrame
    not_checked: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no leak was found, and no identical audio with different labels."""
        return not (
            len(self.groups)
            or self.identical["leak"].any()
            or self.identical["conflict"].any()
            or self.near["leak"].any()
        )

    @property
    def clean(self) -> bool:
        """Whether everything was checked, and nothing found."""
        return self.ok and not self.not_checked

    def lines(self) -> list[str]:
        """Text for a person."""
        return list(self._lines())

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows."""
        values: dict[str, Any] = {"ok": self.ok, "clean": self.clean}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = (
                json.loads(value.to_json(orient="records")) if isinstance(value, pd.DataFrame) else value
            )
        return values | {"not_checked": list(self.not_checked)}

    def _lines(self) -> Iterator[str]:
        yield f"{self.dataset}, split {self.split!r} of {self.label}: {self.tracks} tracks in {self.folds} folds"
        yield f"  groups, of {self.grouped} tracks: {len(self.groups)} in several folds"
        for row in _first(self.groups):
            yield f"    {row['group']}: {row['tracks']} tracks in folds {', '.join(row['folds'])}"

        leak, conflict = self.identical["leak"], self.identical["conflict"]
        yield (
            f"  identical audio, of {self.heard} tracks: {leak.sum()} sets in several folds, "
            f"{(~leak).sum()} within one; with different labels: {conflict.sum()}"
        )
        for row in _first(self.identical[leak | conflict]):
            tracks = list(zip(row["tracks"], row["folds"], row["labels"], strict=True))
            yield "    " + " = ".join(f"{track} (fold {fold}, {label})" for track, fold, label in tracks[:SHOWN])

        leak = self.near["leak"]
        yield (
            f"  near duplicates, of {self.embedded} embedded tracks: {leak.sum()} pairs in two folds, "
            f"{(~leak).sum()} within one"
        )
        for row in _first(self.near[leak]):
            first, second = (f"{row[name]} (fold {row[f'{name}_fold']})" for name in ("first", "second"))
            yield f"    {first} ~ {second}, similarity {row['similarity']:.2f}"

        far = max(_records(self.balance), key=lambda row: row["distance"] - row["chance"])
        yield (
            f"  labels: fold {far['fold']!r} is the least like the whole, by {far['distance']:.3f} "
            f"(95 % of random folds: below {far['chance']:.3f})"
        )
        for row in _records(self.balance):
            if missing := row["missing"]:
                names = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
                yield f"    fold {row['fold']!r} has none of {len(missing)} classes: {names}"
        for line in self.not_checked:
            yield f"  not checked: {line}"
        if self.clean:
            yield "no leakage found"
        else:
            verdict = "nothing found" if self.ok else "LEAKAGE, or one recording with two labels: see above"
            yield verdict + (f"; NOT checked: {', '.join(self._unseen())}" if self.not_checked else "")

    def _unseen(self) -> Iterator[str]:
        """The checks that were not made, or only in part."""
        for check in CHECKS:
            if told := [line for line in self.not_checked if line.startswith(check)]:
                yield check if any(line.startswith(f"{check}:") for line in told) else f"{check} (in part)"


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


def _first(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return _records(table.head(SHOWN))
