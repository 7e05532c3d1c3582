"""The audio of a training run: one int16 array on the disk, and a table of the pieces in it.

Conventions
-----------
* ``audio.s16`` is little-endian int16 ``[frames, channels]``, mapped into memory and never read whole.
* Each piece begins at a multiple of :data:`BLOCK` frames; the rest of its last block is zero.
* ``levels.f32`` has the mean square of each block, full scale being 1, so that quiet passages are known without a look
  at the audio.
* ``corpus.json`` is written last. A folder without it is unfinished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from m2l2_mir.errors import CorpusError, InputError

__all__ = ["AUDIO_FILE", "BLOCK", "CORPUS_FORMAT", "LEVELS_FILE", "MANIFEST_FILE", "Corpus", "digest_of", "matching"]

CORPUS_FORMAT = 1
BLOCK = 1024
AUDIO_FILE, LEVELS_FILE, MANIFEST_FILE = "audio.s16", "levels.f32", "corpus.json"
PIECE_COLUMNS = ("name", "collection", "licence", "split", "sha256", "start", "samples")
SKIPPED_COLUMNS = ("name", "kind", "reason")


@dataclass(frozen=True, eq=False, kw_only=True)
class Corpus:
    """Training audio, decoded once; made by :func:`~m2l2_mir.training.building.build_corpus`.

    Parameters
    ----------
    folder
        Where it lies.
    sample_rate
        Hz.
    key
        Hash of all that decided its content.
    audio : np.ndarray [frames, channels]
        int16, read-only.
    levels : np.ndarray [frames / BLOCK]
        float32, mean square of each block.
    pieces
        One row a piece: ``name``, ``collection``, ``licence``, ``split`` (recommended: "train", "validation", "test" or
        ""), ``sha256`` (of its samples), ``start`` and ``samples`` (in frames of `audio`).
    skipped
        ``name``, ``kind`` ("failed" or "left out") and ``reason`` of what is not among the pieces.
    """

    folder: Path
    sample_rate: int
    key: str
    audio: NDArray[np.int16]
    levels: NDArray[np.float32]
    pieces: pd.DataFrame
    skipped: pd.DataFrame

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a corpus; its table is checked against its own hash and the sizes of the files.

        Raises
        ------
        CorpusError
            There is none, or it is damaged.
        """
        again = "build it again"
        try:
            manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
            if manifest["format"] != CORPUS_FORMAT:
                raise CorpusError(f"{folder} is of format {manifest['format']}, not {CORPUS_FORMAT}; {again}")
            if manifest.pop("digest") != digest_of(manifest):
                raise CorpusError(f"{folder / MANIFEST_FILE} is not as it was written; {again}")
            frames, channels = manifest["frames"], manifest["channels"]
            sizes = {AUDIO_FILE: 2 * frames * channels, LEVELS_FILE: 4 * (frames // BLOCK)}
            for name, size in sizes.items():
                if (found := (folder / name).stat().st_size) != size:
                    raise CorpusError(f"{folder / name} has {found} bytes, not {size}; {again}")
        except FileNotFoundError as error:
            raise CorpusError(f"{folder} holds no finished corpus (no {Path(error.filename).name}); {again}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise CorpusError(f"{folder / MANIFEST_FILE} is damaged; delete the folder and {again}") from error
        return cls(
            folder=folder,
            sample_rate=manifest["sample_rate"],
            key=manifest["key"],
            audio=np.memmap(folder / AUDIO_FILE, "<i2", "r", shape=(frames, channels)),
            levels=np.memmap(folder / LEVELS_FILE, "<f4", "r"),
            pieces=pd.DataFrame(manifest["pieces"], columns=list(PIECE_COLUMNS)),
            skipped=pd.DataFrame(manifest["skipped"], columns=list(SKIPPED_COLUMNS)),
        )

    @property
    def channels(self) -> int:
        """Channels of the audio."""
        return self.audio.shape[1]

    @property
    def hours(self) -> float:
        """Hours of audio in the pieces."""
        return float(self.pieces["samples"].sum()) / self.sample_rate / 3600

    @property
    def recommended(self) -> list[str]:
        """Those of "validation" and "test" that collections are marked with."""
        return [split for split in ("validation", "test") if (self.pieces["split"] == split).any()]

    def split(self, hold_out: Sequence[str]) -> tuple[Corpus, Corpus]:
        """Take whole collections away, so that no package, album or artist is on both sides.

        Parameters
        ----------
        hold_out
            Patterns such as ``"wesnoth*"`` that are matched with the names of the collections, or recommended splits,
            "validation" and "test".

        Returns
        -------
        training, held_out : Corpus
            Two views of the same audio.

        Raises
        ------
        InputError
            A pattern matches no collection, or nothing would be left on one side.

        Examples
        --------
        >>> training, held_out = corpus.split(["validation", "wesnoth*"])  # doctest: +SKIP
        """
        collections = self.pieces["collection"].unique().tolist()
        held: set[str] = set()
        for pattern in hold_out:
            recommended = self.pieces.loc[self.pieces["split"] == pattern, "collection"].unique().tolist()
            held |= set(recommended or matching(pattern, collections))
        if not held or len(held) == len(collections):
            side = "for training" if held else "to hold out"
            raise InputError(f"{list(hold_out)} leaves nothing {side}; there are {', '.join(collections)}")
        inside = self.pieces["collection"].isin(held)
        training, held_out = (self.pieces[side].reset_index(drop=True) for side in (~inside, inside))
        return replace(self, pieces=training), replace(self, pieces=held_out)

    def verify(self) -> None:
        """Compare every sample with the hashes in the table; reads all of the audio.

        Raises
        ------
        CorpusError
            A piece is damaged.
        """
        for name, expected, start, samples in self.pieces[["name", "sha256", "start", "samples"]].to_numpy().tolist():
            if hashlib.sha256(self.audio[start : start + samples].tobytes()).hexdigest() != expected:
                raise CorpusError(f"{name} in {self.folder} is damaged; delete the folder and build it again")

    def summary(self) -> list[str]:
        """Hours and licence of each collection, and what was left out, in lines for a person."""
        lines = [f"{self.hours:.2f} h in {len(self.pieces)} pieces, {self.sample_rate} Hz, {self.channels} channels"]
        for name, pieces in self.pieces.groupby("collection", sort=False):
            hours = pieces["samples"].sum() / self.sample_rate / 3600
            lines.append(f"  {name}: {hours:.2f} h in {len(pieces)}, {', '.join(pieces['licence'].unique())}")
        for kind, rows in self.skipped.groupby("kind"):
            lines.append(f"  {kind}: {len(rows)}")
        return lines


def matching(pattern: str, collections: Sequence[str]) -> list[str]:
    """Collections whose name a shell pattern matches.

    Raises
    ------
    InputError
        There is none.
    """
    found = [name for name in collections if fnmatchcase(name, pattern)]
    if not found:
        raise InputError(f"no collection matches {pattern!r}; there are {', '.join(collections)}")
    return found


def digest_of(value: dict[str, Any]) -> str:
    """SHA-256 of a table, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
