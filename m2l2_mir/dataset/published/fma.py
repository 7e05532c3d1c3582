"""FMA small: 8,000 clips of 30 s in eight genres of the Free Music Archive.

Layout, that of fma_metadata.zip and fma_small.zip unpacked in one folder::

    home/fma_metadata/tracks.csv            two header lines: group and name of each column, then "track_id,,,"
    home/fma_small/000/000002.mp3
    home/fma_small/checksums                SHA-1 of each file

Source: Defferrard et al., "FMA: A Dataset for Music Analysis", ISMIR 2017.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from m2l2_mir.audio import read_info
from m2l2_mir.dataset.published.local_files import digest_of, found, parts_of, straddling
from m2l2_mir.dataset.reading import Reading, Row, read_rows
from m2l2_mir.dataset.recipe import DatasetRecipe
from m2l2_mir.errors import AudioError, InputError

__all__ = ["check_fma_small", "read_fma_small"]

METADATA, AUDIO = "fma_metadata", "fma_small"
TRACKS = 8_000
# A clip cut from an MP3 without decoding ends at a frame boundary, at most some 0.1 s early.
SHORTEST = 29.8

_COLUMNS = {
    ("set", "split"): "split",
    ("set", "subset"): "subset",
    ("track", "genre_top"): "genre",
    ("track", "title"): "title",
    ("artist", "id"): "artist_id",
    ("artist", "name"): "artist",
}
_FOLDS = {"training": "train", "validation": "valid", "test": "test"}


def read_fma_small(recipe: DatasetRecipe, home: Path) -> Reading:
    """Clips with their top genre; ``group`` is the artist, ``fold`` the official split.

    Parameters
    ----------
    recipe
        Of the set.
    home
        Folder that holds fma_metadata and fma_small.

    Raises
    ------
    InputError
        The metadata is not there or cannot be read.
    """
    parts_of(recipe, home, [METADATA])
    tracks, checksums = _small(home / METADATA / "tracks.csv"), _checksums(home / AUDIO / "checksums")
    return read_rows(
        Row(
            track_id=str(number),
            path=str(home / AUDIO / (name := f"{number // 1000:03}/{number:06}.mp3")),
            labels={"genre": track["genre"]},
            extras={
                "group": track["artist_id"],
                "artist": track["artist"],
                "title": track["title"],
                "fold": _FOLDS.get(track["split"], ""),
            },
            audio=f"sha1:{checksums[name]}" if name in checksums else "",
        )
        for number, track in tracks.items()
    )


def check_fma_small(recipe: DatasetRecipe, home: Path) -> list[str]:
    """Everything that is missing, damaged, without sound or too short; all clips are read for their checksums."""
    problems = found([part for part in (METADATA, AUDIO) if not (home / part).is_dir()], "folders missing")
    try:
        tracks = read_fma_small(recipe, home).tracks
    except InputError as error:
        return [*problems, str(error)]
    if len(tracks) != TRACKS:
        problems.append(f"{len(tracks)} tracks of the small subset in {METADATA}/tracks.csv, not {TRACKS}")
    missing, changed, unreadable, short = [], [], [], []
    for track_id, path, sha1 in zip(tracks["track_id"], tracks["path"], tracks["audio"], strict=True):
        if not Path(path).is_file():
            missing.append(track_id)
            continue
        if sha1 and sha1 != f"sha1:{digest_of(Path(path), 'sha1')}":
            changed.append(track_id)
        try:
            duration = read_info(path).duration
        except AudioError:
            unreadable.append(track_id)
            continue
        if duration < SHORTEST:
            short.append(f"{track_id} ({duration:.1f} s)")
    problems += found(missing, "clips missing")
    problems += found(changed, f"clips that are not those of {AUDIO}/checksums")
    problems += found(unreadable, "clips without readable audio")
    problems += found(short, "clips shorter than 30 s")
    return problems + found(straddling(tracks), "artists both in train and in another fold")


def _small(path: Path) -> dict[int, dict[str, str]]:
    """Tracks of the small subset by their number."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            header = list(zip(next(rows), next(rows), strict=True))
        places = {header.index(column): name for column, name in _COLUMNS.items()}
        # artists and titles such as "NA" are no missing values
        table = pd.read_csv(
            path, header=None, skiprows=3, usecols=[0, *places], index_col=0, dtype=str, keep_default_na=False
        )
        table = table.rename(columns=places)
        small = table[table["subset"] == "small"].to_dict("index")
        return {int(str(number)): {str(name): str(text) for name, text in row.items()} for number, row in small.items()}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; unpack fma_metadata.zip again") from error
    except (ValueError, StopIteration) as error:
        raise InputError(f"{path} is not the table it should be ({error}); unpack fma_metadata.zip again") from error


def _checksums(path: Path) -> dict[str, str]:
    """SHA-1 by name, such as 000/000002.mp3; none where the file is not there."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: sha1 for sha1, _, name in (line.partition("  ") for line in lines)}
