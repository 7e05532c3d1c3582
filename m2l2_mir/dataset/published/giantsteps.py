"""Key of electronic dance music: tested on the 604 tracks of GiantSteps, trained on GiantSteps-MTG-keys.

Layout, that of the two public repositories once their ``audio_dl.sh`` has run::

    home/giantsteps-key-dataset/annotations/key/1004923.LOFI.key    one line, such as "Gb major"
    home/giantsteps-key-dataset/md5/1004923.LOFI.md5
    home/giantsteps-key-dataset/audio/1004923.LOFI.mp3
    home/giantsteps-mtg-key-dataset/annotations/annotations.txt     tab-separated: ID, MANUAL KEY, C (confidence)
    home/giantsteps-mtg-key-dataset/md5/..., audio/...

Conventions
-----------
* A track is known by its Beatport number. Some file names pad it with zeros and some do not, so numbers are compared.
* Tracks of the training set are used at the annotator's full confidence, and if the test set does not hold them.

Source: Knees et al., "Two data sets for tempo estimation and key detection in electronic dance music annotated from
user corrections", ISMIR 2015.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.labels import Unusable
from m2l2_mir.dataset.published.local_files import found, md5_of, parts_of
from m2l2_mir.dataset.reading import Reading, Row, read_rows
from m2l2_mir.dataset.recipe import DatasetRecipe
from m2l2_mir.errors import InputError

__all__ = ["check_giantsteps", "read_giantsteps"]

TEST, TRAIN = "giantsteps-key-dataset", "giantsteps-mtg-key-dataset"
TEST_TRACKS = 604
FULL_CONFIDENCE = "2"


def read_giantsteps(recipe: DatasetRecipe, home: Path) -> Reading:
    """Tracks with their key; ``fold`` is train (MTG) or test (the 604).

    Parameters
    ----------
    recipe
        Of the set.
    home
        Folder that holds both repositories, or one of them.

    Returns
    -------
    Reading
        ``confidence`` is 0 to 2 and missing for the test set; ``beatport_id`` is the number. Nothing tells the artist,
        so there is no ``group``.

    Raises
    ------
    InputError
        Neither folder is there, or the annotations of one cannot be read.
    """
    return read_rows(_rows(parts_of(recipe, home, (TEST, TRAIN))))


def check_giantsteps(recipe: DatasetRecipe, home: Path) -> list[str]:
    """Everything that is missing, damaged or not understood; all audio is read for its checksum."""
    problems = found([part for part in (TEST, TRAIN) if not (home / part).is_dir()], "folders missing")
    try:
        reading = read_giantsteps(recipe, home)
    except InputError as error:
        return [*problems, str(error)]
    for folder, fold in ((TEST, "test"), (TRAIN, "train")):
        if not (home / folder).is_dir():
            continue
        tracks = reading.tracks[reading.tracks["fold"] == fold]
        if fold == "test" and len(tracks) != TEST_TRACKS:
            problems.append(f"{len(tracks)} annotations in {folder}, not {TEST_TRACKS}")
        there = tracks[[Path(path).is_file() for path in tracks["path"]]]
        problems += found(set(tracks["track_id"]) - set(there["track_id"]), f"audio files missing in {folder}")
        problems += found(tracks.loc[tracks["audio"] == "", "track_id"], f"checksums missing in {folder}/md5")
        stated = there[there["audio"] != ""]
        wrong = [
            track_id
            for track_id, path, md5 in zip(stated["track_id"], stated["path"], stated["audio"], strict=True)
            if md5 != f"md5:{md5_of(Path(path))}"
        ]
        problems += found(wrong, f"audio files in {folder} that are not those of their checksums")
    strange = reading.dropped[reading.dropped["reason"].str.contains("not understood|neither")]
    return problems + found(strange["track_id"], "keys not understood")


def _rows(parts: list[Path]) -> Iterator[Row]:
    tested: set[int] = set()
    for part in parts:  # the test set comes first
        audio, checksums = _by_number(part / "audio", ".mp3"), _by_number(part / "md5", ".md5")
        for number, key, confidence in _tested(part) if part.name == TEST else _trained(part):
            label: Any = key
            if part.name == TEST:
                tested.add(number)
            elif number in tested:
                label = Unusable("also in the test set")
            elif confidence != FULL_CONFIDENCE:
                label = Unusable(f"confidence {confidence} of {FULL_CONFIDENCE}")
            yield Row(
                track_id=f"{'604' if part.name == TEST else 'mtg'}/{number}",
                path=str(audio.get(number, part / "audio" / f"{number}.LOFI.mp3")),
                labels={"key": label},
                extras={
                    "fold": "test" if part.name == TEST else "train",
                    "beatport_id": number,
                    "confidence": None if confidence is None else int(confidence),
                },
                audio=f"md5:{checksums[number].read_text().strip()}" if number in checksums else "",
            )


def _tested(part: Path) -> Iterator[tuple[int, str, None]]:
    """Number, key and no confidence of each annotation file."""
    files = _by_number(part / "annotations" / "key", ".key")
    if not files:
        raise InputError(f"no annotations in {str(part / 'annotations' / 'key')!r}; clone the repository there again")
    for number, path in sorted(files.items()):
        yield number, path.read_text(encoding="utf-8-sig", errors="replace").strip(), None


def _trained(part: Path) -> Iterator[tuple[int, str, str]]:
    """Number, key and confidence of each line of the table."""
    path = part / "annotations" / "annotations.txt"
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                confidence = line["C"].strip()
                if confidence not in {"0", "1", "2"}:
                    raise ValueError(f"confidence {confidence!r} of track {line['ID']}")
                yield int(line["ID"]), line["MANUAL KEY"], confidence
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; clone the repository there again") from error
    except (KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not the table it should be ({error}); clone the repository there again") from error


def _by_number(folder: Path, suffix: str) -> dict[int, Path]:
    """Files such as 0010089.LOFI.mp3 by their number."""
    files = folder.glob(f"*{suffix}") if folder.is_dir() else ()
    return {int(file.name.split(".")[0]): file for file in sorted(files) if file.name.split(".")[0].isdecimal()}
